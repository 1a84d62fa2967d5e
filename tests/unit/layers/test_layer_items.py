"""Items held as records give back what was put, with what opens their content."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import pytest

from strata_builder import errors
from strata_builder.entries import Entry, Item, Kind, Readable
from strata_builder.layers import items, pack, paths, record

EVERY_KIND = (
    Entry(b"", Kind.DIR, 0o755),
    Entry(b"d", Kind.DIR, 0o1777, 1, 2, -5),
    Entry(b"d/f", Kind.FILE, 0o4755, 2**32 - 2, 4, 2**40, 7, digest="ab" * 32),
    Entry(b"d/unknown", Kind.FILE, 0o644, size=7),
    Entry(b"d/x", Kind.FILE, 0o644, size=1, xattrs=((b"user.a", b""), (b"user.b", b"\0" * 300)), digest="cd" * 32),
    Entry(b"d/h", Kind.HARDLINK, 0o644, size=7, link=b"d/f", digest="ab" * 32),
    Entry(b"l", Kind.SYMLINK, 0o777, link=b"../\xff"),
    Entry(b"c", Kind.CHAR, 0o600, major=5, minor=2**20 - 1),
    Entry(b"b", Kind.BLOCK, 0o600, major=1, minor=2),
    Entry(b"p", Kind.FIFO, 0o600),
)


@pytest.mark.parametrize("entry", EVERY_KIND, ids=lambda entry: entry.path.decode() or "root")
def test_a_record_is_its_entry(entry: Entry) -> None:
    assert record.unpack(entry.path, record.pack(entry)) == entry


@pytest.mark.parametrize("entry", EVERY_KIND, ids=lambda entry: entry.path.decode() or "root")
def test_a_record_that_is_cut_short_is_no_other_entry(entry: Entry) -> None:
    whole = record.pack(entry)
    for size in range(record.FIXED.size, len(whole)):
        try:
            found = record.unpack(entry.path, whole[:size])
        except record.CutShort:
            continue
        assert record.pack(found) != whole


def test_items_come_back_sorted_and_drain_in_the_order_of_a_walk() -> None:
    names = [b"a", b"a/b", b"a/b/c", b"a-b", b"a.b", b"a/b.c", b"b", b"", b"a\x01"]
    random.Random(1).shuffle(names)
    held = items.Items(Item(Entry(name, Kind.DIR, 0o755)) for name in names)
    assert [item.entry.path for item in held] == sorted(names)
    assert [item.entry.path for item in held.drain()] == sorted(names, key=paths.order)
    assert not list(held)


def _reading(asked: list[bytes]) -> Callable[[bytes], Readable]:
    def opened(path: bytes) -> Readable:
        asked.append(path)
        return io.BytesIO(path)

    return opened


@pytest.mark.parametrize("source", [b"", b"s", b"s/t"])
@pytest.mark.parametrize("target", [b"", b"x", b"x/y"])
@pytest.mark.parametrize("below", [b"f", b"d/f"])
def test_content_comes_from_the_same_name_below_the_source(source: bytes, target: bytes, below: bytes) -> None:
    asked: list[bytes] = []
    held = items.Items()
    number = held.origin(items.Origin(_reading(asked), source, target))
    held.put_from(Entry(paths.join(target, below), Kind.FILE, 0o644), number)
    _open(held, paths.join(target, below))
    assert asked == [paths.join(source, below)]


def test_one_file_may_be_called_otherwise() -> None:
    asked: list[bytes] = []
    held = items.Items()
    held.put_from(Entry(b"x/new", Kind.FILE, 0o644), held.origin(items.Origin(_reading(asked), b"s/old", b"x/new")))
    _open(held, b"x/new")
    assert asked == [b"s/old"]


def test_what_moves_and_what_becomes_a_link_keeps_its_content() -> None:
    asked: list[bytes] = []
    held = items.Items()
    number = held.origin(items.Origin(_reading(asked), b"s", b"x"))
    held.put_from(Entry(b"x/f", Kind.FILE, 0o644), number)
    held.put_from(Entry(b"x/g", Kind.FILE, 0o644), number)
    held.move(b"x/f", b"elsewhere")
    held.link(b"x/g", b"elsewhere")
    _open(held, b"elsewhere")
    _open(held, b"x/g")
    linked = held.get(b"x/g")
    assert asked == [b"s/f", b"s/g"]
    assert linked is not None
    assert (linked.entry.kind, linked.entry.link) == (Kind.HARDLINK, b"elsewhere")
    assert b"x/f" not in held


def test_what_takes_a_path_takes_nothing_of_what_was_there() -> None:
    held = items.Items([Item(Entry(b"f", Kind.FILE, 0o644), lambda: io.BytesIO(b"old"))])
    held.put_from(Entry(b"f", Kind.DIR, 0o755), 0)
    found = held.get(b"f")
    assert found == Item(Entry(b"f", Kind.DIR, 0o755))
    held.put(Item(Entry(b"f", Kind.FILE, 0o644)))
    assert held.get(b"f") == Item(Entry(b"f", Kind.FILE, 0o644))


def test_times_change_and_nothing_else() -> None:
    held = items.Items(map(Item, EVERY_KIND))
    held.retime(lambda time: 99 if time < 0 else time)
    assert {item.entry for item in held} == {
        entry._replace(mtime=99) if entry.mtime < 0 else entry for entry in EVERY_KIND
    }


def test_a_path_twice_in_a_layer_is_refused(tmp_path) -> None:
    twice = [Item(Entry(b"d", Kind.DIR, 0o755))] * 2
    with pytest.raises(errors.LayerError, match="'d' would be in one layer twice"):
        pack.pack(twice, blob=tmp_path / "blob")
    with pytest.raises(errors.LayerError, match="'d' would be in one layer twice"):
        pack.pack([], [b"d", b"d"], blob=tmp_path / "blob")


def _open(held: items.Items, path: bytes) -> None:
    item = held.get(path)
    assert item is not None
    assert item.open is not None
    item.open()


def test_rows_tell_apart_what_is_not_the_same() -> None:
    file = Entry(b"a/b", Kind.FILE, 0o644, 1, 2, 3, 4, b"", 0, 0, (), "ab" * 32)
    others = [
        [file._replace(path=b"a/c")],
        [file._replace(mode=0o600)],
        [file._replace(uid=2)],
        [file._replace(gid=1)],
        [file._replace(mtime=4)],
        [file._replace(size=5)],
        [file._replace(digest="cd" * 32)],
        [file._replace(xattrs=((b"user.a", b"b"),))],
        [file._replace(xattrs=((b"user.", b"ab"),))],
        [file._replace(kind=Kind.HARDLINK, link=b"x")],
        [Entry(b"a/b", Kind.SYMLINK, 0o777, link=b"x")],
        [Entry(b"a/b", Kind.CHAR, 0o644, major=1, minor=2)],
        [Entry(b"a/b", Kind.CHAR, 0o644, major=2, minor=1)],
        [file, file._replace(path=b"a/c")],
        [],
    ]
    told = {b"".join(items.Items(map(Item, entries)).rows()) for entries in [[file], *others]}
    assert len(told) == 1 + len(others)


def test_rows_without_times_tell_those_that_are_a_steps() -> None:
    def rows(*times: int) -> list[bytes]:
        found = [Item(Entry(b"f%d" % n, Kind.DIR, 0o755, mtime=time)) for n, time in enumerate(times)]
        return list(items.Items(found).rows(-1))

    assert rows(5, -1) == rows(6, -1)
    assert rows(5, -1) != rows(-1, 5)
    assert rows(5, 5) != rows(5, -1)
