"""A tar or zip archive as a build context: from a URL, from a file, or from a pipe that may also bring a Dockerfile."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from strata_builder import errors
from strata_builder.context import download, gitref, limits, places, untar, unzip, zipdirectory
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.context.git import DEFAULT_LIMIT, Checkout
from strata_builder.context.headers import parse_time
from strata_builder.contract import ArchiveSource, SourceResult
from strata_builder.layers import decompress, folders, tarfields, tarheader
from strata_builder.registry import addresses

MAX_DOCKERFILE: Final = 4 << 20
_TRIES: Final = 3


class Stream(Protocol):
    def read(self, size: int = -1, /) -> bytes | None: ...


def fetch(
    source: ArchiveSource,
    dest: Path,
    credentials: Credentials | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    client: download.Client = download.DEFAULTS,
    plain: str = "",
) -> Checkout:
    """Downloads and unpacks in one pass (a zip archive once all of it is there); `source.path` of it is the context.
    `dest` is empty or absent. What is no archive is kept as the file `plain` where that has a name.

    Nothing is trusted before the digest is known, and nothing is left if it is not `source.sha256`. `limit` is the most
    bytes that the files may have. Raises InvalidSpec, SourceNotFound, SourceAuthFailed, SourceUnavailable, LayerError,
    StorageLimitExceeded.
    """
    path, wanted = gitref.check_folder(source.path), _check_sha256(source.sha256)
    for tried in range(1, _TRIES + 1):
        try:
            digest, time, kept = _fetch_once(
                source.url, dest, credentials or ANONYMOUS, limits.Budget(limit), client, plain
            )
            break
        except errors.SourceUnavailable:
            _empty(dest)
            if tried == _TRIES:
                raise
    if wanted and digest != wanted:
        _empty(dest)
        raise errors.SourceNotFound(
            f"{addresses.redact(source.url)} has the sha256 {digest}, but {wanted} was asked for",
            hint="the archive has changed: if that is right, write its new digest",
        )
    return Checkout(sub_folder(dest, path), SourceResult(revision=f"sha256:{digest}"), time, plain=kept)


def _fetch_once(
    url: str, dest: Path, credentials: Credentials, budget: limits.Budget, client: download.Client, plain: str
) -> tuple[str, int | None, bool]:
    """The sha256 of what was fetched, its time, and whether it was kept as the file `plain`."""
    places.make(dest)
    with client.open(url, credentials) as response, download.translated(url):
        stream = _Counted(response, budget)
        name, head = addresses.redact(url), _read_exactly(stream, tarheader.BLOCK)
        keeps, whole, newest = bool(plain) and not is_archive(head), _Joined(head, stream), None
        if keeps:
            _keep(whole, dest / plain, name)
        else:
            newest = _extract(whole, dest, budget, name)
        while stream.read(1 << 20):
            """What follows the archive's end belongs to the digest."""
        return stream.digest.hexdigest(), parse_time(response.header("last-modified")) or newest, keeps


def unpack(stream: BinaryIO, dest: Path, *, limit: int = DEFAULT_LIMIT, name: str = "the archive") -> Path:
    """A local archive into `dest` (empty or absent); gives `dest`. Raises as `fetch` does."""
    places.make(dest)
    _extract(stream, dest, limits.Budget(limit), name)
    return dest


def read_pipe(stream: BinaryIO, dest: Path, *, limit: int = DEFAULT_LIMIT) -> Path | bytes:
    """What stands behind `-` on a command line: an archive (unpacked below `dest`) or the text of a Dockerfile.

    Raises InvalidSpec for a Dockerfile that is larger than MAX_DOCKERFILE, or for nothing at all.
    """
    head = _read_exactly(stream, tarheader.BLOCK)
    if is_archive(head):
        return unpack(_Joined(head, stream), dest, limit=limit, name="the archive on standard input")  # type: ignore[arg-type]
    text = head + (stream.read(MAX_DOCKERFILE) if len(head) == tarheader.BLOCK else b"")
    if len(text) > MAX_DOCKERFILE:
        raise errors.InvalidSpec("standard input is neither a tar or zip archive nor a Dockerfile")
    if not text:
        raise errors.InvalidSpec("standard input is empty", hint="pipe a Dockerfile, or a tar or zip archive, into it")
    return text


def is_archive(head: bytes) -> bool:
    """Whether a stream that begins with `head` (512 bytes, or all there is) is to be read as an archive."""
    if decompress.sniff(head) or head.startswith(zipdirectory.MAGIC):
        return True
    if len(head) < tarheader.BLOCK:
        return False
    with contextlib.suppress(errors.LayerError):
        tarfields.check(head, "the beginning")
        return head != tarfields.ZERO
    return False


def sub_folder(root: Path, path: str) -> Path:
    """`path` below `root`, no component of which may be a link. Raises SourceNotFound."""
    with folders.Folders(root) as below:
        try:
            is_folder = stat.S_ISDIR(below.stat(path.encode("utf-8", "surrogateescape")).st_mode)
        except OSError:
            is_folder = False
    if not is_folder:
        raise errors.SourceNotFound(
            f"the source has no folder {path!r}",
            hint="a path through a symlink is not followed; write the folder's own",
        )
    return root / path


def _extract(stream: Stream, dest: Path, budget: limits.Budget, name: str) -> int | None:
    """The time of the newest file of a tar archive; of a zip archive, whose times have no zone, None."""
    head = _read_exactly(stream, 8)
    if head.startswith(zipdirectory.MAGIC):
        unzip.extract(_Joined(head, stream), dest, budget, name)
        return None
    try:
        return untar.extract(_Joined(head, stream), dest, budget)
    except errors.LayerError as e:
        raise errors.LayerError(f"{name} cannot be unpacked: {e.message}", hint=e.hint) from e


def _keep(stream: Stream, path: Path, name: str) -> None:
    text = _read_exactly(stream, MAX_DOCKERFILE + 1)
    if len(text) > MAX_DOCKERFILE:
        raise errors.InvalidSpec(f"{name} is neither a tar or zip archive nor a Dockerfile")
    path.write_bytes(text)
    path.chmod(0o600)


class _Counted:
    """Hashes what passes. More compressed bytes than the files may have in all is no archive worth to read on."""

    def __init__(self, stream: Stream, budget: limits.Budget) -> None:
        self.digest = hashlib.sha256()
        self._stream = stream
        self._budget = budget
        self._total = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size) or b""
        self.digest.update(data)
        self._total += len(data)
        self._budget.check(self._total - (1 << 20))
        return data


class _Joined:
    """`head`, then the rest of `stream`."""

    def __init__(self, head: bytes, stream: Stream) -> None:
        self._head = io.BytesIO(head)
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        return self._head.read(size) or self._stream.read(size) or b""


def _read_exactly(stream: Stream, size: int) -> bytes:
    """`size` bytes, fewer only at the end."""
    head = b""
    while len(head) < size and (more := stream.read(size - len(head))):
        head += more
    return head


def _check_sha256(text: str) -> str:
    digest = text.removeprefix("sha256:").lower()
    if digest and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise errors.InvalidSpec(
            f"{gitref.shown(text)!r} is not a sha256", hint="64 hexadecimal digits, as sha256sum prints"
        )
    return digest


def _empty(folder: Path) -> None:
    for path in _children(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _children(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())
