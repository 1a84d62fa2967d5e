"""Writing a case to disk: its context, named contexts and archives, and what is to be served by HTTP."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from differential.builds.cases import Case, Entry
from support.file_server import Answer

SERVED = "http://files"


@dataclass(frozen=True, slots=True)
class Folders:
    """`context` and `dockerfile` as paths; `named` the folders of named contexts; `secrets` files by id."""

    context: Path
    dockerfile: Path
    named: dict[str, Path]
    secrets: dict[str, Path]


def write(case: Case, folder: Path, url: str, owner: tuple[int, int] | None = None) -> Folders:
    """Makes the case's folders below `folder`; `url` is the address of the server of its files. With `owner` all of it
    belongs to that user, whatever the case says."""
    named: dict[str, Path] = {}
    (folder / "context").mkdir(parents=True)
    for entry in disk_entries(case):
        root, name = folder / "context", entry.name
        if name.startswith("@"):
            context, _, name = name[1:].partition("/")
            root = named.setdefault(context, folder / f"@{context}")
            root.mkdir(exist_ok=True)
        _write(root, name, entry if owner is None else replace(entry, owner=owner), content(case, entry))
    dockerfile = folder / "context" / case.dockerfile
    replace_served(dockerfile, url)
    return Folders(folder / "context", dockerfile, named, _secrets(case, folder))


def disk_entries(case: Case) -> list[Entry]:
    """What lies in folders: members of archives and what is served do not."""
    return [entry for entry in case.entries if "//" not in entry.name]


def served(case: Case) -> dict[str, Answer]:
    """What the server answers, by path."""
    remote = [entry for entry in case.entries if entry.name.startswith(f"{SERVED}/")]
    plain = [entry for entry in remote if "//" not in entry.name.removeprefix(SERVED)]
    return {
        entry.name.removeprefix(SERVED): Answer(content(case, entry), entry.status, dict(entry.headers))
        for entry in plain
    }


def content(case: Case, entry: Entry) -> bytes:
    """The bytes of a file: an archive's are made of its members."""
    inner = _archive(case, entry) if entry.archive else entry.content
    match entry.packed:
        case "gzip":
            inner = gzip.compress(inner, mtime=0)
        case "bzip2":
            inner = bz2.compress(inner)
        case "xz":
            inner = lzma.compress(inner)
        case "zstd":
            inner = subprocess.run(["zstd", "-qc"], input=inner, capture_output=True, check=True).stdout
    return inner if entry.cut is None else inner[: entry.cut]


def _archive(case: Case, archive: Entry) -> bytes:
    buffer = io.BytesIO()
    prefix = f"{archive.name}//"
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in case.entries:
            if entry.name.startswith(prefix):
                tar.addfile(_member(entry, entry.name.removeprefix(prefix)), io.BytesIO(entry.content))
    return buffer.getvalue()


def _member(entry: Entry, name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name.rstrip("/"))
    member.mode, member.mtime = entry.mode, 1_000_000_000 if entry.time is None else entry.time
    member.uid, member.gid = entry.owner
    member.linkname = entry.symlink or entry.hardlink
    member.pax_headers = {f"SCHILY.xattr.{key}": os.fsdecode(value) for key, value in entry.xattrs.items()}
    if entry.symlink:
        member.type = tarfile.SYMTYPE
    elif entry.hardlink:
        member.type = tarfile.LNKTYPE
    elif name.endswith("/"):
        member.type = tarfile.DIRTYPE
    else:
        member.size = len(entry.content)
    return member


def _write(root: Path, name: str, entry: Entry, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.symlink:
        path.symlink_to(entry.symlink)
    elif entry.hardlink:
        path.hardlink_to(root / entry.hardlink)
        return
    elif name.endswith("/"):
        path.mkdir(exist_ok=True)
    else:
        path.write_bytes(data)
    _attributes(path, entry)


def _attributes(path: Path, entry: Entry) -> None:
    """Owner first: changing it clears the bits for set-user-ID and the capabilities."""
    os.chown(path, *entry.owner, follow_symlinks=False)
    if not entry.symlink:
        path.chmod(entry.mode)
    for name, value in entry.xattrs.items():
        os.setxattr(path, name, value, follow_symlinks=False)
    if entry.time is not None:
        os.utime(path, (entry.time, entry.time), follow_symlinks=False)


def replace_served(dockerfile: Path, url: str) -> None:
    """Puts the server's address in the place of http://files."""
    if dockerfile.is_file() and SERVED.encode() in (text := dockerfile.read_bytes()):
        dockerfile.write_bytes(text.replace(SERVED.encode(), url.encode()))


def _secrets(case: Case, folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for key, value in case.settings:
        if key == "secret":
            name, _, text = value.partition("=")
            found[name] = folder / f"secret-{name}"
            found[name].write_text(text)
    return found


def flags(case: Case, folders: Folders) -> tuple[list[str], list[str]]:
    """The case's settings as flags of `strata build` and of `buildctl build`."""
    strata: list[str] = []
    buildctl: list[str] = []
    for key, value in case.settings:
        for mine, theirs in _flag(key, value):
            strata += mine
            buildctl += theirs
    for name, path in folders.secrets.items():
        strata += ["--secret", f"id={name},src={path}"]
        buildctl += ["--secret", f"id={name},src={path}"]
    for name, path in folders.named.items():
        strata += ["--build-context", f"{name}={path}"]
        buildctl += ["--local", f"{name}={path}", "--opt", f"context:{name}=local:{name}"]
    return strata, buildctl


def _flag(key: str, value: str) -> Iterable[tuple[list[str], list[str]]]:
    match key:
        case "target" | "platform":
            yield ["--" + key, value], ["--opt", f"{key}={value}"]
        case "arg":
            yield ["--build-arg", value], ["--opt", f"build-arg:{value}"]
        case "label":  # docker's client adds what is missing here
            yield ["--label", value], ["--opt", f"label:{value}" if "=" in value else f"label:{value}="]
        case "network":
            yield ["--network", value], ["--opt", f"force-network-mode={value}"]
