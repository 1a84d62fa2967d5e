"""From a request to the folder that a build reads: context, Dockerfile and ignore file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from strata_builder import contract, errors
from strata_builder import dockerfile as df
from strata_builder.context import configmap, folder, limits, places, tree
from strata_builder.entries import Kind
from strata_builder.frozen import frozen
from strata_builder.layers import following
from strata_builder.pod import exchange
from strata_builder.pod.paths import Paths

MAX_DOCKERFILE: Final = df.MAX_BYTES
DOCKERFILE, IGNORE = "Dockerfile", "ignore"  # as they lie in the inputs


@frozen
class Brought:
    """`source` says what was fetched; `dockerfile` is the name for messages; `time` when the context last changed, if
    anything tells that."""

    source: contract.SourceResult
    dockerfile: str
    time: int | None = None


def bring(request: contract.BuildRequest, paths: Paths) -> Brought:
    """Fills the inputs with the context, and with copies of the Dockerfile and of its ignore file.

    Raises InvalidSpec, SourceNotFound, SourceAuthFailed, ReferenceNotFound, SourceUnavailable.
    """
    paths.inputs.mkdir(parents=True, exist_ok=True)
    source, time = _context(request, paths)
    context = folder.FolderTree(paths.context)
    if request.dockerfile_inline:
        name, data = "Dockerfile", exchange.read(paths.at(contract.DOCKERFILE).resolve(), MAX_DOCKERFILE)
        beside = None
    else:
        name, data = _dockerfile(context, request.dockerfile_path)
        beside = _read(context, df.ignore_file(request.dockerfile_path))
    exchange.publish(paths.inputs / DOCKERFILE, data)
    exchange.publish(paths.inputs / IGNORE, _ignore_file(context, beside))
    return Brought(source, name, time)


def _context(request: contract.BuildRequest, paths: Paths) -> tuple[contract.SourceResult, int | None]:
    source, limit = request.source, request.context_limit_bytes
    if source.files or source.files_folder:
        _write(configmap.read(paths.at(contract.CONTEXT_FILES), source.files), paths.context, limit)
        return contract.SourceResult(), None
    if source.git is None and source.archive is None:
        places.make(paths.context)
        return contract.SourceResult(), None
    from strata_builder.pod import sources

    done = sources.fetch(request, paths)
    return done.source, done.time


def _write(files: tree.Tree, dest: Path, limit: int) -> None:
    budget = limits.Budget(limit)
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        entry, target = files.lookup(path), dest / os.fsdecode(path)
        assert entry is not None
        if entry.kind == Kind.DIR:
            places.make(target)
            waiting += [tree.join(path, name) for name in files.children(path)]
        else:
            budget.take(entry.size)
            with contextlib.closing(files.open(path)) as file:
                target.write_bytes(file.read() or b"")


def _dockerfile(context: folder.FolderTree, wanted: str) -> tuple[str, bytes]:
    """The Dockerfile in the context, and its name there."""
    for name in df.candidates(wanted):
        if (data := _read(context, name)) is not None:
            return name, data
    raise errors.SourceNotFound(
        f"the context has no {wanted or 'Dockerfile'}",
        hint="set spec.dockerfile.path to its path in the context, or spec.dockerfile.inline to its text",
    )


def _ignore_file(context: folder.FolderTree, beside: bytes | None) -> bytes:
    """The one beside the Dockerfile wins, and then alone counts."""
    return beside if beside is not None else _read(context, ".dockerignore") or b""


def _read(context: folder.FolderTree, name: str) -> bytes | None:
    path = following.follow(context.lookup, name.encode("utf-8", "surrogateescape"))
    entry = context.lookup(path)
    if entry is None:
        return None
    if entry.kind != Kind.FILE or entry.size > MAX_DOCKERFILE:
        raise errors.InvalidSpec(f"{name} of the context is not a file of at most {MAX_DOCKERFILE} bytes")
    with contextlib.closing(context.open(path)) as file:
        return file.read()
