"""The short way of reading a tar header says what the long one says, or leaves it to it."""

from __future__ import annotations

import io
import random

import pytest

from strata_builder import errors
from strata_builder.layers import tarplain, unpack
from support import tars

_BLOCK = 512
_ODD = [b"\0", b" ", b"/", b".", b"..", b"8", b"-", b"\xff", b"\x80", b"ustar  \0", b"ustar\x0000"]
_NAMES = [
    b"a",
    b"./a",
    b"a/b",
    b"a/",
    b"./",
    b"",
    b"/a",
    b"a//b",
    b"a/../b",
    b"a/.wh.b",
    b".wh.a",
    b".a",
    b"a/.",
    b"N" * 100,
]
#: Where the fields of a header lie that have a meaning.
_PLACES = [
    *range(8),
    99,
    *range(100, 124),
    *range(124, 136),
    *range(136, 156),
    156,
    *range(157, 162),
    *range(257, 265),
    345,
]


def _header(rng: random.Random) -> bytes:
    """One with a name, a type and a link of which some are odd."""
    kind = rng.choice([b"0", b"0", b"1", b"2", b"5", b"\0", b"3", b"7", b"9"])
    fields = {"link": rng.choice([b"", *_NAMES]), "prefix": rng.choice([b"", b"", b"p", b"./p", b"p/", b".wh.p"])}
    owner = rng.choice([b"0000000", b"0001750", b"       ", b"", b"\x80\0\0\0\0\0\0\x09", b"7777777"])
    return tars.block(rng.choice(_NAMES), kind, uid=owner, **fields)


def _mutated(rng: random.Random, header: bytes) -> bytes:
    """With some bytes changed; mostly the checksum is right nevertheless."""
    changed = bytearray(header)
    for _ in range(rng.choice([0, 0, 1, 2])):
        odd = rng.choice(_ODD)
        at = rng.choice(_PLACES)
        changed[at : at + len(odd)] = odd
    if rng.random() < 0.9:
        changed[148:156] = b" " * 8
        changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed[:_BLOCK])


def _told(archive: bytes) -> list[object]:
    """The entries, and the error where there is one."""
    found: list[object] = []
    try:
        found += [(entry, content.read()) for entry, content in unpack.read_layer(io.BytesIO(archive))]
    except errors.LayerError as error:
        found.append(str(error))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_both_ways_tell_the_same_of_every_header(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng = random.Random(seed)
    archives = [b"".join(_mutated(rng, _header(rng)) for _ in range(2)) + tars.END for _ in range(50)]
    short = [_told(archive) for archive in archives]
    monkeypatch.setattr(tarplain, "read", lambda block: None)
    assert short == [_told(archive) for archive in archives]


@pytest.mark.parametrize("name", [b"a", b"a/b", b"./a/b", b"N" * 100])
@pytest.mark.parametrize("kind", [b"0", b"5", b"2", b"1"])
def test_what_nearly_all_headers_are_like_is_read_the_short_way(name: bytes, kind: bytes) -> None:
    found = tarplain.read(tars.block(name, kind, link=b"x" if kind in b"12" else b""))
    assert found is not None
    assert (found[1], found[0].path) == (name, name.removeprefix(b"./"))
