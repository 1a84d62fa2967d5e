"""What a command line names, brought together: the context, the Dockerfile, named contexts, secrets."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from strata_builder import contract, errors
from strata_builder import dockerfile as df
from strata_builder.cli import values
from strata_builder.context import folder, gitref, remembered
from strata_builder.context.tree import Tree
from strata_builder.engine.contexts import ImageContext, NamedContext, TreeContext
from strata_builder.frozen import frozen

MAX_SECRET = 1 << 20
_FETCHED = "context"  # the name that BuildKit gives to a file that a URL names as context
_UNKNOWN = contract.SourceResult()
_Dockerfile = tuple[bytes, str, df.IgnoreRules | None]
"""Its bytes, its name for messages, and what it leaves out of the context."""


@frozen
class Source:
    """`tree` is the context without what `ignore` says; `result` tells the commit of one that came from git, `time` when
    what was fetched last changed."""

    tree: Tree
    dockerfile: df.Dockerfile
    result: contract.SourceResult
    ignore: df.IgnoreRules | None = None
    time: int | None = None
    digests: remembered.Digests | None = None


def load(
    context: str,
    file: str | None,
    scratch: Path,
    secrets: Mapping[str, bytes] = MappingProxyType({}),
    *,
    keep_git_dir: bool = False,
    remembered_in: Path | None = None,
) -> Source:
    """`secrets` may hold credentials for a context in git, of which `keep_git_dir` keeps the `.git`; digests of a folder's
    files are looked for below `remembered_in`. Raises SourceNotFound, DockerfileError and what fetching raises."""
    if context == "-":
        return _from_pipe(file, scratch)
    done = _folder(context, scratch, secrets, keep_git_dir=keep_git_dir)
    root, is_here = done.path, Path(context).is_dir()
    if done.is_dockerfile and not file:
        text, name, ignore = _read(root / _FETCHED, "Dockerfile"), "Dockerfile", None
    else:
        text, name, ignore = _piped(root) if file == "-" else _found(_where(root, file, is_here), file or "", root)
    known = _remembered(root, remembered_in) if remembered_in is not None and is_here else None
    tree = folder.FolderTree(root, ignore, known)
    return Source(tree, df.parse(text, name), done.source, ignore, done.time, known)


def _remembered(root: Path, below: Path) -> remembered.Digests:
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
    return remembered.Digests(below / name)


def named(
    given: Mapping[str, str], scratch: Path, secrets: Mapping[str, bytes] = MappingProxyType({})
) -> dict[str, NamedContext]:
    """--build-context: folders and images."""
    found: dict[str, NamedContext] = {}
    for number, (name, value) in enumerate(given.items()):
        if value.startswith("docker-image://"):
            found[name] = ImageContext(value.removeprefix("docker-image://"))
        elif value.startswith("oci-layout://"):
            found[name] = ImageContext(value)
        else:
            own = scratch / f"named-{number}"
            own.mkdir()
            done = _folder(value, own, secrets)
            found[name] = TreeContext(folder.FolderTree(done.path, _own_ignore(done.path)), done.time)
    return found


def secrets(given: list[str]) -> dict[str, bytes]:
    """--secret. Raises UsageError naming the secret, never its content."""
    return {secret.id: _secret(secret) for secret in map(values.secret, given)}


def secret_file(text: str) -> str:
    """The file that a --secret names; "" where it names a variable of the environment."""
    secret = values.secret(text)
    return "" if _is_variable(secret) else secret.source or secret.id


def _is_variable(secret: values.Secret) -> bool:
    return bool(secret.variable) or (not secret.source and secret.id in os.environ)


def _secret(secret: values.Secret) -> bytes:
    if _is_variable(secret):
        name = secret.variable or secret.id
        if name not in os.environ:
            raise values.UsageError(f"--secret {secret.id}: the environment has no {name}")
        return os.fsencode(os.environ[name])
    path = Path(secret.source or secret.id)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET + 1)
    except OSError as e:
        raise values.UsageError(f"--secret {secret.id}: cannot read {path}: {e.strerror}") from e
    if len(content) > MAX_SECRET:
        raise values.UsageError(f"--secret {secret.id}: {path} has more than {MAX_SECRET} bytes")
    return content


def _from_pipe(file: str | None, scratch: Path) -> Source:
    from strata_builder.context import archive, memory

    found = archive.read_pipe(sys.stdin.buffer, scratch / "context")
    if isinstance(found, bytes):
        if file:
            raise values.UsageError(
                "standard input holds a Dockerfile, so there is no context that --file could lie in"
            )
        return Source(memory.MemoryTree({}), df.parse(found, "Dockerfile"), _UNKNOWN)
    text, name, ignore = _found(found, file or "", found)
    return Source(folder.FolderTree(found, ignore), df.parse(text, name), _UNKNOWN, ignore)


@frozen
class _Folder:
    """A context on this machine, and what is known of where it came from."""

    path: Path
    source: contract.SourceResult = _UNKNOWN
    time: int | None = None
    is_dockerfile: bool = False  # all that is there, under the name _FETCHED


def _folder(context: str, scratch: Path, secrets: Mapping[str, bytes], *, keep_git_dir: bool = False) -> _Folder:
    path = Path(context)
    if path.is_dir():
        return _Folder(path)
    if (reference := gitref.parse_context(context)) is not None:
        return _checkout(reference, scratch, secrets, keep_git_dir=keep_git_dir)
    if context.startswith(("http://", "https://")):
        from strata_builder.context import archive

        fetched = archive.fetch(contract.ArchiveSource(context), scratch / "archive", plain=_FETCHED)
        return _Folder(fetched.folder, time=fetched.time, is_dockerfile=fetched.plain)
    raise errors.SourceNotFound(f"there is no folder {context!r}", hint="give a folder, a git or archive URL, or -")


def _checkout(
    reference: gitref.Reference, scratch: Path, secrets: Mapping[str, bytes], *, keep_git_dir: bool
) -> _Folder:
    from strata_builder.context import buildsecrets, git, gitprogram

    done = git.fetch(
        reference.source,
        scratch / "git",
        buildsecrets.for_git(secrets, gitref.parse_url(reference.source.url, local=True)),
        checksum=reference.checksum,
        keep_git_dir=keep_git_dir or bool(reference.keep_git_dir),
        settings=gitprogram.Settings(host_settings=True, scratch=scratch),
        local=True,
    )
    return _Folder(done.folder, done.source, done.time)


def _piped(root: Path) -> _Dockerfile:
    return sys.stdin.buffer.read(df.MAX_BYTES + 1), "Dockerfile", _own_ignore(root)


def _where(root: Path, file: str | None, is_here: bool) -> Path:
    """As with docker, --file is a path on this machine, or one in a context that was fetched, if it is not absolute. Where
    there is none on this machine it is one below the context."""
    return Path() if is_here and file and any(Path(name).exists() for name in df.candidates(file)) else root


def _found(base: Path, file: str, root: Path) -> _Dockerfile:
    """The Dockerfile below `base`; the ignore file beside it wins over that of the context `root`."""
    names = df.candidates(file)
    name = next((name for name in names if (base / name).exists()), names[0])
    beside = base / df.ignore_file(file)
    return _read(base / name, name), name, _rules(beside) if beside.is_file() else _own_ignore(root)


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as opened:
            text = opened.read(df.MAX_BYTES + 1)
    except FileNotFoundError:
        hint = "name it with -f: a path here, else in the context; of one that is fetched in that alone, or an absolute path"
        raise errors.SourceNotFound(f"there is no {name} in {path.parent}", hint=hint) from None
    except OSError as e:
        raise errors.SourceNotFound(f"cannot read {path}: {e.strerror}") from e
    if len(text) > df.MAX_BYTES:
        raise errors.DockerfileError(f"{name} has more than {df.MAX_BYTES} bytes, which is the limit")
    return text


def _own_ignore(root: Path) -> df.IgnoreRules | None:
    path = root / ".dockerignore"
    return _rules(path) if path.is_file() else None


def _rules(path: Path) -> df.IgnoreRules:
    return df.IgnoreRules.parse(_read(path, path.name), path.name)
