"""`strata build`: plan, work, and the result to wherever it was asked for."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strata_builder import contract, errors
from strata_builder.cli import agents, exports, session, values
from strata_builder.engine import blobs, execute, recording, records, stages, steps
from strata_builder.engine.roots import Roots
from strata_builder.frozen import replace
from strata_builder.lint import building as warnings
from strata_builder.oci import platform as platforms
from strata_builder.oci.image import LayerRef
from strata_builder.pod import storedfiles
from strata_builder.sandbox import host

_CACHE_AGE: Final = 14  # days
_CACHE_SIZE: Final = 10 << 30


def run(given: argparse.Namespace) -> int:
    outputs = exports.wanted(given)
    _require_folders(given, [output.dest for output in outputs if output.kind != "local"])
    if given.isolation != "layers" and os.geteuid() != 0 and _needs_sandbox(given):
        code = host.enter_user_namespace([sys.executable, "-m", "strata_builder.cli", *sys.argv[1:]])
        if code is not None:
            return code
    elif given.isolation != "layers" and os.geteuid() == 0:
        host.enter_user_namespace([])
    with session.opened(given) as opened, agents.opened(given.ssh, os.environ) as opened.agents:
        with warnings.collected(opened.report.note) as found:
            made = [_build(opened, platform, found) for platform in opened.platforms()]
        exports.write(outputs, made, opened)
        _tell(made, opened)
        if not outputs:
            opened.report.note("nothing was written but the cache: give --push, or -o type=oci,dest=FILE")
    return contract.ExitCode.OK


def _require_folders(given: argparse.Namespace, archives: list[str]) -> None:
    """Where results go is looked at before the work is done. Raises UsageError."""
    for path in filter(None, [*archives, given.iidfile, given.metadata_file]):
        if path != "-" and not Path(path).parent.is_dir():
            raise values.UsageError(
                f"cannot write {path}: there is no folder {Path(path).parent}", hint="make it first"
            )


def _needs_sandbox(given: argparse.Namespace) -> bool:
    """Only a Dockerfile on this machine can be looked at before the build begins; anything else may hold a RUN."""
    if given.context == "-" or given.file == "-" or not Path(given.context).is_dir():
        return True
    with session.opened(given) as opened, agents.opened(given.ssh, os.environ) as opened.agents:
        made = opened.keyed(opened.platforms()[0])
        return any(
            not stages.is_known(made.keys, made.options, made.known, index, position, step)
            for index, stage in made.plan.stages.items()
            for position, step in enumerate(stage.steps)
            if step in made.plan.runs
        )


def _build(opened: session.Session, platform: platforms.Platform, found: warnings.Warnings) -> exports.Made:
    keyed = opened.keyed(platform)
    found.look(opened.source.dockerfile, keyed.options, keyed.plan, opened.source.ignore)
    _refuse_foreign_runs(keyed)
    store = blobs.Blobs(opened.store.blobs, opened.images, keyed.contents)
    with _roots(keyed, opened, store) as roots:
        edges = execute.Edges(
            blobs=store,
            remotes=opened.remotes,
            known=keyed.known,
            report=opened.report,
            scratch=opened.scratch,
            roots=roots,
            cancel=threading.Event(),
        )
        built = execute.execute(keyed.plan, keyed.keys, keyed.options, edges)
    remotes = storedfiles.every(opened.scratch / "remotes")
    opened.store.keep_contents(store.known)
    if opened.source.digests is not None:
        opened.source.digests.keep()
    opened.store.keep(built.used, remotes)
    for text in opened.given.cache_to:
        _keep_cache(
            opened, values.cache("--cache-to", text), platform, records.Records(built.used, remotes=remotes), store
        )
    return exports.Made(platform, built, store)


def _refuse_foreign_runs(keyed: session.Keyed) -> None:
    if foreign := keyed.plan.foreign_run(platforms.host()):
        raise errors.NotSupported(
            f"a RUN for {foreign.config.platform} cannot run on {platforms.host()}",
            place=foreign.place,
            hint="build it on such a machine, or run it for this one: FROM --platform=$BUILDPLATFORM",
        )


@contextlib.contextmanager
def _roots(keyed: session.Keyed, opened: session.Session, store: blobs.Blobs) -> Iterator[Roots | None]:
    if not keyed.plan.runs or opened.given.isolation == "layers":
        yield None
        return
    from strata_builder.sandbox import roots

    kind = roots.UserNSRoots(opened.scratch / "roots", store, opened.store.mounts, learn=store.learn)
    try:
        yield kind
    finally:
        kind.close()


def _keep_cache(
    opened: session.Session,
    to: values.CacheReference,
    platform: platforms.Platform,
    kept: records.Records,
    store: blobs.Blobs,
) -> None:
    where = session.cache_at(to, platform)
    registry = opened.registries.get(where.host)
    present = opened.present[where.host, where.repository]
    today = int(time.time()) // 86400
    made = replace(kept, steps=records.used_today(kept.steps.items(), today))
    for layer in made.layers():
        if layer.descriptor.digest not in present:
            registry.upload_blob(where.repository, layer.descriptor, _opener(store, layer))
            present.add(layer.descriptor.digest)
    recording.write(
        registry,
        where.repository,
        where.version,
        made,
        today=today,
        max_age=_CACHE_AGE,
        max_size=_CACHE_SIZE,
        contents=store.known,
        seen=opened.seen.get(where),
        note=opened.report.note,
    )
    opened.report.note(f"cache kept at {where}")


def _opener(store: blobs.Blobs, layer: LayerRef) -> exports.Opener:
    return lambda: store.path(layer).open("rb")


def _tell(made: list[exports.Made], opened: session.Session) -> None:
    digest = exports.digest_of(made)
    given = opened.given
    if given.iidfile:
        Path(given.iidfile).write_text(digest)
    if given.metadata_file:
        Path(given.metadata_file).write_text(json.dumps(_metadata(made, opened, digest), indent=2) + "\n")
    opened.report.note(f"built {digest}")
    if given.quiet:
        print(digest)


def _metadata(made: list[exports.Made], opened: session.Session, digest: str) -> dict[str, object]:
    bases: dict[tuple[str, str], steps.Base] = {(b.name, b.digest): b for one in made for b in one.built.bases}
    return {
        "containerimage.digest": digest,
        "containerimage.config.digest": made[0].built.image.config_descriptor.digest,
        "image.name": ",".join(opened.given.tag),
        "strata.platforms": [{"platform": str(m.platform), "digest": m.built.image.digest} for m in made],
        "strata.bases": [{"name": name, "digest": value} for name, value in bases],
        "strata.commit": opened.source.result.commit,
        "strata.steps": [
            {
                "line": s.line,
                "instruction": s.instruction,
                "cached": s.cached,
                "reason": s.reason,
                "seconds": s.seconds,
                "size": s.size,
            }
            for m in made
            for s in m.built.steps
        ],
    }
