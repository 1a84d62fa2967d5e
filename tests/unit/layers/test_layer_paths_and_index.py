"""Names inside a layer, and the layer's table of contents."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from isal import isal_zlib

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import index, indexfile, names, paths
from strata_builder.rootfs import users, view
from support.apart import apart
from support.layertrees import file, folder, hard, link, packed

_T = TypeVar("_T")


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        (b"a/b", b"a/b"),
        (b"./a//b/", b"a/b"),
        (b"/a", b"a"),
        (b"../../evil", b"evil"),
        (b"a/../../b", b"b"),
        (b"./", b""),
        (b"", b""),
        (b"...", b"..."),
        (b"a/..b/.c", b"a/..b/.c"),
    ],
)
def test_names_are_clamped_below_the_root(raw: bytes, normal: bytes) -> None:
    assert paths.normalise(raw) == normal


@pytest.mark.parametrize("raw", [b"a\0b", b"x" * 256, b"ab/" * 1400])
def test_names_that_linux_cannot_take_are_refused(raw: bytes) -> None:
    with pytest.raises(errors.LayerError):
        paths.normalise(raw)


@pytest.mark.parametrize(
    ("path", "shown"), [(b"a\nb", r"'a\nb'"), (b"\xff", r"'\xff'"), ("é".encode(), "'é'"), (b"\x1b[31m", r"'\x1b[31m'")]
)
def test_names_are_shown_on_one_line_whatever_they_hold(path: bytes, shown: str) -> None:
    assert paths.show(path) == shown


def test_whiteouts_and_parents_of_a_path() -> None:
    assert paths.whiteout_for(b"a/b") == b"a/.wh.b"
    assert paths.whiteout_for(b"b") == b".wh.b"
    assert list(paths.parents(b"a/b/c")) == [b"a", b"a/b"]
    assert paths.is_whiteout(b"a/.wh.b")
    assert not paths.is_whiteout(b".wh.a/b")
    assert paths.has_reserved_name(b".wh.a/b")
    assert not paths.has_reserved_name(b"a.wh.b")


def some_index(tmp_path: Path) -> index.Index:
    items = [
        folder("a"),
        folder("a/b", mode=0o1777, uid=5, gid=2**32 - 2, xattrs=((b"user.x", b"\0\xff"),)),
        file("a/b/c", b"content", mtime=-7),
        file("a!", b""),
        folder("a-"),
        link("a/l", "../x"),
        hard("a/b/d", "a/b/c"),
        file("etc/group", b"root:x:0:\n"),
    ]
    return packed(tmp_path / "blob", items, [b"gone", b"a/gone"]).index


def test_an_index_survives_encoding(tmp_path: Path) -> None:
    before = some_index(tmp_path)
    after = indexfile.decode(indexfile.encode(before))
    assert list(after) == list(before)
    assert (after.whiteouts, after.opaque, after.texts) == (before.whiteouts, before.opaque, before.texts)
    assert indexfile.encode(after) == indexfile.encode(before)


def test_an_index_holds_the_text_of_files_of_users_wherever_they_lie(tmp_path: Path) -> None:
    items = [
        file("usr/lib/passwd", b"app:x:1:2::/:/bin/sh\n"),
        file("usr/bin/passwd", b"\x7fELF", mode=0o4755),
        file("etc/passwd-", b"old"),
        link("etc/passwd", "../usr/lib/passwd"),
    ]
    found = packed(tmp_path / "blob", items).index
    assert found.texts == {b"usr/lib/passwd": b"app:x:1:2::/:/bin/sh\n"}
    assert users.owner(view.View([found]), "app") == (1, 2)


def test_an_index_answers_for_single_paths_and_directories(tmp_path: Path) -> None:
    found = some_index(tmp_path)
    assert found.children(b"") == [b"a", b"a!", b"a-", b"etc"]
    assert found.children(b"a") == [b"b", b"l"]
    assert found.children(b"a/b") == [b"c", b"d"]
    assert found.children(b"a/l") == []
    assert found.has_below(b"etc")
    assert not found.has_below(b"a!")
    assert found.lookup(b"etc") is None
    shown, stored = found.shown(b"a/b/d"), found.lookup(b"a/b/d")
    assert stored is not None
    assert shown is not None
    assert (stored.kind, stored.link) == (Kind.HARDLINK, b"a/b/c")
    assert (shown.kind, shown.size, shown.mtime, shown.path) == (Kind.FILE, 7, -7, b"a/b/d")


def test_no_damage_to_an_index_goes_unnoticed_or_crashes(tmp_path: Path) -> None:
    rng = random.Random(1)
    plain = isal_zlib.decompress(indexfile.encode(some_index(tmp_path)))
    refused = 0
    for _ in range(2000):
        damaged = bytearray(plain)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        data = isal_zlib.compress(bytes(damaged[: rng.randint(0, len(damaged))] if rng.random() < 0.2 else damaged), 1)
        try:
            decoded = indexfile.decode(data)
        except errors.LayerError:
            refused += 1
        else:
            # What is accepted has to be consistent: it is what this program writes for some layer.
            assert isal_zlib.decompress(indexfile.encode(decoded)) == damaged
    assert refused > 500


@pytest.mark.parametrize("data", [b"", b"junk", isal_zlib.compress(b"junk", 1), isal_zlib.compress(bytes(1000), 1)[:9]])
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(errors.LayerError, match="not an index"):
        indexfile.decode(data)


def test_an_index_that_is_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexfile, "MAX_ENCODED", 1 << 20)
    with pytest.raises(errors.LayerError, match="larger than 1 MiB"):
        indexfile.decode(isal_zlib.compress(bytes(4 << 20), 1))


def test_an_entry_takes_few_bytes_while_the_index_is_made_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_AT_ONCE", 1000)
    added, finished, encoded = apart(lambda: _bytes_an_entry(20_000))
    assert added < 250
    assert finished < 110  # its row of 61 and a reference, and no second one of anything else
    assert encoded < 60


def _bytes_an_entry(count: int) -> tuple[float, float, float]:
    """When all are added; and what is taken beside it while the index is made, and while that is encoded, but for the code."""
    tracemalloc.start()
    try:
        built = index.Builder()
        for number in range(count):
            path = b"usr/lib/python3/dist-packages/package%d/module%d.py" % (number % 500, number)
            built.add(Entry(path, Kind.FILE, 0o644, size=number, digest=f"{number:064x}"))
        added, _ = tracemalloc.get_traced_memory()
        found, finished = _further(built.finish)
        assert len(found) == count
        code, encoded = _further(lambda: indexfile.encode(found))
        return added / count, finished / count, (encoded - len(code)) / count
    finally:
        tracemalloc.stop()


def _further(do: Callable[[], _T]) -> tuple[_T, int]:
    """What it gives, and the most bytes that it took meanwhile beside those that were in use."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    done = do()
    return done, tracemalloc.get_traced_memory()[1] - before


ODD = [b"", b".", b"..", b"/a", b"a/", b"a//b", b"./a", b"a/.", b"a/../b", b".wh.a", b"a/.wh..wh..opq", b"a\0b"]


@pytest.mark.parametrize("odd", [*ODD, b"x" * 256, b"a/" + b"y" * 255])
@pytest.mark.parametrize("at", [0, 1, 1022, 1023, 1024, 2500])
def test_of_many_paths_the_unusual_ones_are_found(odd: bytes, at: int) -> None:
    usual = [b"usr/.hidden/f%d" % number if number % 7 == 0 else b"usr/f%d" % number for number in range(2500)]
    found = [*usual[:at], odd, *usual[at:]]
    assert list(paths.unusual(found)) == [path for path in found if not paths.is_usual(path)] == [odd]
