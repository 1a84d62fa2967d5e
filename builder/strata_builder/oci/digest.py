"""Digests of content, and a reader that lets no wrong byte pass. Pure.

A digest is a `str` of the form `sha256:<64 lower-case hex digits>` (OCI image-spec, descriptor.md). Other algorithms
are refused.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from strata_builder.oci import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

Digest: TypeAlias = str

_FORM = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK = 1 << 20
EMPTY: Digest = "sha256:" + hashlib.sha256(b"").hexdigest()


def parse_digest(text: object, *, what: str = "digest") -> Digest:
    """`text` if it is a digest that we can check. Raises ImageInvalid that names `what`."""
    if isinstance(text, str) and _FORM.fullmatch(text):
        return text
    shown = repr(text)[:100]
    if isinstance(text, str) and not text.startswith("sha256:"):
        raise errors.ImageInvalid(f"{what} {shown} does not use sha256, the only algorithm supported")
    raise errors.ImageInvalid(f"{what} {shown} is not sha256: and 64 lower-case hexadecimal digits")


def is_digest(text: str) -> bool:
    return bool(_FORM.fullmatch(text))


def of(data: bytes) -> Digest:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def hex_of(value: Digest) -> str:
    return value.partition(":")[2]


def of_stream(reader: BinaryIO, *, limit: int | None = None) -> tuple[Digest, int]:
    """Digest and size of all that `reader` gives, in bounded memory. Raises ImageInvalid when it exceeds `limit`
    bytes."""
    hasher, size = hashlib.sha256(), 0
    while chunk := reader.read(_CHUNK):
        hasher.update(chunk)
        size += len(chunk)
        if limit is not None and size > limit:
            raise errors.ImageInvalid(f"content is larger than {limit} bytes")
    return "sha256:" + hasher.hexdigest(), size


class Verifier(io.RawIOBase):
    """A reader over `reader` that raises DigestMismatch unless it gives exactly `size` bytes with digest `expected`.

    The last bytes are handed out only after the whole content was found right, so whoever has read to the end has read
    the truth. `mismatch` makes the error, so that a registry client can say which registry lied.
    """

    def __init__(
        self,
        reader: BinaryIO,
        expected: Digest,
        size: int,
        *,
        name: str = "content",
        mismatch: Callable[[str], errors.DigestMismatch] = errors.DigestMismatch,
    ) -> None:
        super().__init__()
        self._reader = reader
        self._expected = parse_digest(expected)
        self._size = size
        self._name = name
        self._mismatch = mismatch
        self._hasher = hashlib.sha256()
        self._count = 0
        self._finished = False
        self._failure = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._failure:
            raise self._mismatch(self._failure)
        view = memoryview(buffer).cast("B")
        if self._finished or not view.nbytes:
            if not self._size:
                self._finish()
            return 0
        count = self._read_some(view[: self._size - self._count]) if self._count < self._size else 0
        if not count and self._count < self._size:
            self._fail(f"{self._name} {self._expected} ended after {self._count} of {self._size} bytes")
        self._hasher.update(view[:count])
        self._count += count
        if self._count == self._size:
            self._finish()
        return count

    def _read_some(self, view: memoryview) -> int:
        readinto = getattr(self._reader, "readinto", None)
        if readinto is not None:
            return int(readinto(view) or 0)
        data = self._reader.read(view.nbytes)
        view[: len(data)] = data
        return len(data)

    def _finish(self) -> None:
        if self._finished:
            return
        if self._reader.read(1):
            self._fail(f"{self._name} {self._expected} is longer than its {self._size} bytes")
        actual = "sha256:" + self._hasher.hexdigest()
        if actual != self._expected:
            self._fail(f"{self._name} should have digest {self._expected} but has {actual} ({self._size} bytes)")
        self._finished = True

    def _fail(self, message: str) -> None:
        self._failure = message
        raise self._mismatch(message)

    def close(self) -> None:
        if not self.closed:
            self._reader.close()
        super().close()
