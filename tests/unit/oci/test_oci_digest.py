"""Digests, and the reader that lets no wrong byte pass."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

import pytest

from strata_builder.oci import digest, errors


class Dribble(io.RawIOBase):
    """Gives at most `step` bytes a read, as sockets do."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer):
        chunk = self._data.read(min(self._step, len(buffer)))
        buffer[: len(chunk)] = chunk
        return len(chunk)


@pytest.mark.parametrize(
    "text",
    ["sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha512:" + "a" * 128, "", None, 5, "sha256:" + "a" * 64 + "\n"],
)
def test_what_is_no_digest_is_refused_with_its_place(text):
    with pytest.raises(errors.ImageInvalid, match=r"layers\[3\]"):
        digest.parse_digest(text, what="layers[3]")


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("data", [b"", b"x", b"hello" * 100])
def test_right_content_passes_whatever_the_size_of_reads(data, step):
    reader = digest.Verifier(cast(BinaryIO, Dribble(data, step)), digest.of(data), len(data))
    assert io.BufferedReader(reader).read() == data


@pytest.mark.parametrize(
    ("given", "problem"),
    [(b"hellO", "digest"), (b"hell", "ended after 4 of 5"), (b"hello!", "longer than its 5"), (b"", "ended after 0")],
)
def test_wrong_content_never_reaches_its_end(given, problem):
    reader = digest.Verifier(io.BytesIO(given), digest.of(b"hello"), 5, name="layer")
    with pytest.raises(errors.DigestMismatch, match=f"layer.*{problem}"):
        reader.read()
    with pytest.raises(errors.DigestMismatch):
        reader.read(1)


def test_the_last_bytes_are_withheld_until_all_is_known_to_be_right():
    reader = digest.Verifier(io.BytesIO(b"wrong"), digest.of(b"hello"), 5)
    assert reader.read(4) == b"wron"
    with pytest.raises(errors.DigestMismatch):
        reader.read(1)


def test_empty_content_is_verified_too():
    with pytest.raises(errors.DigestMismatch, match="digest"):
        digest.Verifier(io.BytesIO(), digest.of(b"x"), 0).read()


def test_closing_closes_what_is_below():
    below = io.BytesIO(b"x")
    digest.Verifier(below, digest.of(b"x"), 1).close()
    assert below.closed


def test_a_stream_is_hashed_up_to_its_limit():
    assert digest.of_stream(io.BytesIO(b"abc")) == (digest.of(b"abc"), 3)
    with pytest.raises(errors.ImageInvalid, match="larger than 2"):
        digest.of_stream(io.BytesIO(b"abc"), limit=2)
