"""Inputs that are nearly right: bytes and JSON documents with random changes. The same generator gives the same ones."""

from __future__ import annotations

import io
import json
from random import Random
from typing import Any, Final

Pieces = tuple[bytes, ...]

#: Values that programs forget: of the wrong type, too large, not encodable, nested.
ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 2**64, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan"),
    "", "x", "0", "\0", "\ud800", "é", "a" * 5000, "../..", "sha256:", "sha256:" + "0" * 64, "linux/amd64", "\n", "9" * 5000,
    [], [None], [[]], ["x"], [1], {}, {"": None}, {"a": {"a": []}}, {"digest": []}, [{}] * 300,
)  # fmt: skip
_BYTES: Final = (0, 1, 9, 10, 32, 34, 39, 47, 48, 55, 57, 58, 92, 127, 128, 255)


def changed(rng: Random, data: bytes, pieces: Pieces) -> bytes:
    """`data` with one to six changes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        rng.choice(_CHANGES)(rng, out, pieces)
    return bytes(out)


class Chosen(Random):
    """A generator whose choices are the bytes given, four for each, so that a changed byte changes one choice and leaves
    those before it; when they are used up it goes on by chance, the same for the same bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = io.BytesIO(data)

    def random(self) -> float:
        return self.getrandbits(32) / (1 << 32)

    def getrandbits(self, k: int, /) -> int:
        given = self._left.read(4)
        if k > 32 or len(given) < 4:
            return super().getrandbits(k)
        return int.from_bytes(given, "big") >> (32 - k)


def stretched(rng: Random, data: bytes, pieces: Pieces, size: int) -> bytes:
    """`data` with a piece in it that is repeated up to `size` bytes: what takes more than linear work shows it."""
    piece = rng.choice(pieces) if pieces else bytes([rng.choice(_BYTES)])
    if rng.random() < 0.5 and pieces:
        piece += rng.choice(pieces)
    at = rng.randint(0, len(data))
    opening = rng.choice((b"", b"", rng.choice(pieces) if pieces else b""))
    return data[:at] + opening + piece * (size // max(1, len(piece))) + data[at:]


def json_changed(rng: Random, data: bytes, pieces: Pieces) -> bytes:
    """A JSON document with odd values in it, and sometimes with changed bytes."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return changed(rng, data, pieces)
    for _ in range(rng.randint(1, 3)):
        document = _with_odd(rng, document, pieces)
    try:
        text = json.dumps(document).encode()
    except RecursionError:  # deep in what was deep already
        return changed(rng, data, pieces)
    return changed(rng, text, pieces) if rng.random() < 0.15 else text


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _with_odd(rng: Random, value: Any, pieces: Pieces) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {name: each for name, each in value.items() if name != key}
        return value | {key: _with_odd(rng, value[key], pieces)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return [*value[:at], _with_odd(rng, value[at], pieces), *value[at + 1 :]]
    if pieces and rng.random() < 0.3:
        return rng.choice(pieces).decode("utf-8", "replace")
    return nested(rng.randint(1, 300)) if rng.random() < 0.03 else rng.choice(ODD)


def _insert(rng: Random, out: bytearray, pieces: Pieces) -> None:
    at = rng.randint(0, len(out))
    out[at : at + rng.choice((0, 0, 1, 5, 20))] = rng.choice(pieces) if pieces else rng.randbytes(rng.randint(1, 8))


def _overwrite(rng: Random, out: bytearray, _: Pieces) -> None:
    if out:
        out[rng.randrange(len(out))] = rng.choice((*_BYTES, rng.randrange(256)))


def _flip(rng: Random, out: bytearray, _: Pieces) -> None:
    if out:
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)


def _erase(rng: Random, out: bytearray, _: Pieces) -> None:
    at = rng.randint(0, len(out))
    del out[at : at + rng.choice((1, 1, 4, 30, 200))]


def _copy(rng: Random, out: bytearray, _: Pieces) -> None:
    start = rng.randint(0, len(out))
    part = out[start : start + rng.randint(1, 60)]
    at = rng.randint(0, len(out))
    out[at:at] = part * rng.choice((1, 1, 2, 9))


def _cut(rng: Random, out: bytearray, _: Pieces) -> None:
    if rng.random() < 0.3:
        del out[rng.randint(0, len(out)) :]


def _number(rng: Random, out: bytearray, _: Pieces) -> None:
    """Two, four or eight bytes of a number near an edge."""
    width = rng.choice((2, 4, 8))
    value = rng.choice((0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1), rng.getrandbits(8 * width)))
    at = rng.randint(0, len(out))
    out[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))


_CHANGES: Final = (_insert, _insert, _overwrite, _overwrite, _flip, _erase, _copy, _cut, _number)
