"""Tables of contents as they are kept: whatever was not written by this program is refused, and names what is wrong."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field, replace

import pytest
from isal import isal_zlib

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import index, indexfile, paths

FILE = struct.Struct("<BHIIqQ")
DIR_ROW = FILE.pack(Kind.DIR, 0o755, 0, 0, 5, 0)
FILE_ROW = FILE.pack(Kind.FILE, 0o644, 1, 2, -5, 7)


@dataclass(frozen=True)
class Written:
    """The format, written by hand: a directory `a` with a file `b` and a link `l` in it, and a file `etc/passwd`."""

    count: int = 5
    folders: bytes = b"a\0etc"
    counts: tuple[int, ...] = (1, 1, 2, 1)
    names: bytes = b"a\0b\0l\0passwd"
    rows: tuple[bytes, ...] = (
        *(DIR_ROW, DIR_ROW, FILE_ROW, FILE.pack(Kind.SYMLINK, 0o777, 0, 0, 0, 0)),
        FILE.pack(Kind.FILE, 0o644, 0, 0, 0, 3),
    )
    digests: tuple[bytes, ...] = (bytes(32), bytes(32), b"\1" * 32, bytes(32), b"\2" * 32)
    numbers: tuple[int, ...] = (3,)
    more: tuple[bytes, ...] = (b"\1\0\0\0b",)
    whiteouts: tuple[bytes, ...] = (b"gone",)
    texts: tuple[tuple[bytes, bytes], ...] = ((b"etc/passwd", b"x:y"),)
    end: bytes = b""
    magic: bytes = field(default=b"strata index 3\n")

    def plain(self) -> bytes:
        planes = bytes(row[place] for place in range(FILE.size) for row in self.rows)
        parts = [self.magic, _number(self.count), _sized(self.folders), _numbers(self.counts), _sized(self.names)]
        parts += [planes, *self.digests, _numbers(self.numbers), *map(_sized, self.more)]
        parts += [_number(len(self.whiteouts)), *map(_sized, self.whiteouts), _number(0), _number(len(self.texts))]
        return b"".join([*parts, *(_sized(path) + _sized(text) for path, text in self.texts), self.end])

    def read(self) -> index.Index:
        return indexfile.decode(isal_zlib.compress(self.plain()))

    def row(self, number: int, row: bytes) -> Written:
        return replace(self, rows=(*self.rows[:number], row, *self.rows[number + 1 :]))

    def digest(self, number: int, digest: bytes) -> Written:
        return replace(self, digests=(*self.digests[:number], digest, *self.digests[number + 1 :]))


def _number(number: int) -> bytes:
    return struct.pack("<I", number)


def _numbers(numbers: tuple[int, ...]) -> bytes:
    return b"".join(map(_number, (len(numbers), *numbers)))


def _sized(data: bytes) -> bytes:
    return _number(len(data)) + data


GOOD = Written()
LONG = b"n" * 255


def test_what_is_written_by_hand_is_read_and_written_again():
    found = GOOD.read()
    assert list(found) == [
        Entry(b"", Kind.DIR, 0o755, mtime=5),
        Entry(b"a", Kind.DIR, 0o755, mtime=5),
        Entry(b"a/b", Kind.FILE, 0o644, 1, 2, -5, 7, digest="01" * 32),
        Entry(b"a/l", Kind.SYMLINK, 0o777, link=b"b"),
        Entry(b"etc/passwd", Kind.FILE, 0o644, size=3, digest="02" * 32),
    ]
    assert (found.whiteouts, found.texts) == ((b"gone",), {b"etc/passwd": b"x:y"})
    assert isal_zlib.decompress(indexfile.encode(found)) == GOOD.plain()


def test_the_bytes_that_an_index_was_read_from_are_at_hand():
    data = isal_zlib.compress(GOOD.plain(), 0)
    assert indexfile.encoded(indexfile.decode(data)) is data
    built = index.Builder()
    built.add(Entry(b"a", Kind.DIR, 0o755))
    made = built.finish()
    assert indexfile.encoded(made) == indexfile.encode(made)


DAMAGED = {
    "another version": (replace(GOOD, magic=b"strata index 2\n"), "does not begin"),
    "more entries than any layer has": (replace(GOOD, count=2**32 - 1), "claims 4294967295 entries"),
    "fewer entries than it counts": (replace(GOOD, count=4), "contradict"),
    "counts of other directories": (replace(GOOD, counts=(1, 1, 3)), "contradict"),
    "a second root": (replace(GOOD, counts=(2, 0, 2, 1)), "contradict"),
    "names that are not counted": (replace(GOOD, names=GOOD.names + b"\0x"), "contradict"),
    "counts that are too large": (replace(GOOD, counts=(1, 2**32 - 1, 2, 1)), "contradict"),
    "a name with a slash": (replace(GOOD, names=b"a\0b\0l\0x/passwd"), "'x/passwd' is no path"),
    "an empty name": (replace(GOOD, names=b"\0b\0l\0passwd"), "'' is no path"),
    "a name that leads upwards": (replace(GOOD, names=b"a\0..\0l\0passwd"), "'..' is no path"),
    "a name that leads nowhere": (replace(GOOD, names=b"a\0.\0l\0passwd"), "'.' is no path"),
    "a reserved name": (replace(GOOD, names=b"a\0.wh.b\0l\0passwd"), r"'\.wh\.b' is no path"),
    "the first name reserved": (replace(GOOD, names=b".wh.b\0b\0l\0passwd"), r"'\.wh\.b' is no path"),
    "a name that is too long": (replace(GOOD, names=b"a\0b\0" + b"l" * 256 + b"\0passwd"), "is no path"),
    "names out of order": (replace(GOOD, names=b"a\0l\0b\0passwd"), "'b' is out of order"),
    "a name twice": (replace(GOOD, names=b"a\0b\0b\0passwd"), "'b' is out of order"),
    "directories out of order": (replace(GOOD, folders=b"etc\0a"), "'a' is out of order"),
    "a directory twice": (replace(GOOD, folders=b"a\0a"), "'a' is out of order"),
    "the root twice": (replace(GOOD, folders=b"\0etc"), "'' is out of order"),
    "a directory in one that is missing": (replace(GOOD, folders=b"a\0b/etc"), "'b' is missing"),
    "a directory with a slash before it": (replace(GOOD, folders=b"/a\0etc"), "'/a' is missing, or none"),
    "a directory with a slash after it": (replace(GOOD, folders=b"a\0etc/"), "'etc' is missing"),
    "a directory that leads upwards": (replace(GOOD, folders=b"..\0a"), r"'\.\.' is no path"),
    "a reserved directory": (replace(GOOD, folders=b".wh.x\0a"), r"'\.wh\.x' is no path"),
    "a directory with nothing below it": (replace(GOOD, counts=(1, 1, 3, 0), names=b"a\0b\0l\0p"), "nothing is below"),
    "a path that is too long": (
        replace(
            GOOD,
            count=6,
            folders=b"\0".join([b"a", *(b"a/" + b"/".join([LONG] * n) for n in range(1, 17)), b"etc"]),
            counts=(1, 1, 2, *[0] * 15, 1, 1),
            names=b"a\0b\0l\0x\0passwd",
            rows=(*GOOD.rows, FILE_ROW),
            digests=(*GOOD.digests, bytes(32)),
        ),
        "is no path",
    ),
    "an entry below a file": (GOOD.row(1, FILE_ROW), "'a/b' stands below 'a', which the same layer makes a file"),
    "an entry below a root that is none": (
        GOOD.row(0, FILE_ROW),
        "'a' stands below '', which the same layer makes a file",
    ),
    "an impossible kind": (GOOD.row(2, FILE.pack(7, 0o644, 1, 2, -5, 7)), "impossible kind"),
    "an impossible mode": (GOOD.row(2, FILE.pack(0, 0o10644, 1, 2, -5, 7)), "impossible kind or mode"),
    "an impossible user": (GOOD.row(2, FILE.pack(0, 0o644, 2**32 - 1, 2, -5, 7)), "impossible owner"),
    "an impossible group": (GOOD.row(2, FILE.pack(0, 0o644, 1, 2**32 - 1, -5, 7)), "impossible owner"),
    "a directory that has a size": (GOOD.row(1, FILE.pack(Kind.DIR, 0o755, 0, 0, 5, 1)), "directory has a size"),
    "a directory that has a digest": (GOOD.digest(1, b"\1" * 32), "without content has a digest"),
    "a link that has a digest": (GOOD.digest(3, b"\1" * 32), "without content has a digest"),
    "a link that leads nowhere": (replace(GOOD, numbers=(), more=()), "link or device is cut short"),
    "more of an entry that is not there": (replace(GOOD, numbers=(3, 5), more=(*GOOD.more, b"x")), "out of order"),
    "more of an entry twice": (replace(GOOD, numbers=(3, 3), more=GOOD.more * 2), "out of order"),
    "nothing more of an entry": (replace(GOOD, numbers=(2, 3), more=(b"", *GOOD.more)), "not as this program writes"),
    "attributes that are cut short": (replace(GOOD, numbers=(2, 3), more=(b"\1\0\0\0x", *GOOD.more)), "cut short"),
    "a whiteout that leads upwards": (replace(GOOD, whiteouts=(b"../gone",)), "'../gone' is no path"),
    "whiteouts out of order": (replace(GOOD, whiteouts=(b"b", b"a")), "'a' is out of order"),
    "the text of another file": (replace(GOOD, texts=((b"etc/shadow", b""),)), "follows its end"),
    "something after its end": (replace(GOOD, end=b"x"), "follows its end"),
}


@pytest.mark.parametrize(("damaged", "why"), DAMAGED.values(), ids=DAMAGED)
def test_what_no_layer_has_is_refused(damaged: Written, why: str) -> None:
    with pytest.raises(errors.LayerError, match=why):
        damaged.read()


def test_an_index_is_refused_wherever_it_is_cut():
    plain = GOOD.plain()
    for end in range(len(plain)):
        with pytest.raises(errors.LayerError, match="not an index"):
            indexfile.decode(isal_zlib.compress(plain[:end]))


def test_owners_whose_bytes_together_look_like_none_are_read():
    rows = [
        FILE.pack(Kind.DIR, 0o755, 0xFF00FFFF, 0x00FFFF00, 0, 0),
        FILE.pack(Kind.DIR, 0o755, 0x00FFFFFF, 2**32 - 2, 0, 0),
    ]
    found = replace(GOOD.row(0, rows[0]).row(1, rows[1])).read()
    assert [(entry.uid, entry.gid) for entry in found][:2] == [(0xFF00FFFF, 0x00FFFF00), (0x00FFFFFF, 2**32 - 2)]


def _random_entries(rng: random.Random) -> dict[bytes, Entry]:
    """Of every kind, some below directories that nobody holds, some with names that sort around a slash."""
    found: dict[bytes, Entry] = {}
    folders = [b""]
    for _ in range(rng.randint(0, 40)):
        above, name = rng.choice(folders), rng.choice([b"a", b"a!", b"a-b", b"a0", b"b", b"\xff", b"passwd"])
        path = paths.join(above, name)
        kind = rng.choice([Kind.DIR, Kind.DIR, Kind.FILE, Kind.SYMLINK, Kind.CHAR, Kind.FIFO, None])
        if path in found or path in folders:
            continue
        if kind is None or kind is Kind.DIR:
            folders.append(path)
        if kind is not None:
            content = {"size": rng.randrange(9), "digest": rng.choice(["", "ab" * 32])} if kind is Kind.FILE else {}
            link = {"link": b"a"} if kind is Kind.SYMLINK else {"major": 4, "minor": 7} if kind is Kind.CHAR else {}
            xattrs = ((b"user.a", b"\0"), (b"user.b", b"")) if rng.random() < 0.2 else ()
            found[path] = Entry(
                path, kind, rng.randrange(0o10000), rng.randrange(9), 3, xattrs=xattrs, **content, **link
            )
    if rng.random() < 0.5:
        found[b""] = Entry(b"", Kind.DIR, 0o755)
    return found


@pytest.mark.parametrize("seed", range(100))
def test_an_index_tells_what_went_into_it_in_whatever_order(seed: int) -> None:
    rng = random.Random(seed)
    entries = _random_entries(rng)
    built = index.Builder()
    for entry in rng.sample(sorted(entries.values()), len(entries)):
        built.add(entry)
    made = built.finish()
    again = indexfile.decode(indexfile.encode(made))
    above = {folder for path in entries for folder in ((b"", *paths.parents(path)) if path else ())}
    for found in (made, again):
        assert [entry.path for entry in found] == sorted(entries, key=paths.order)
        assert sorted(found.paths()) == sorted(entries)
        assert {entry.path: entry for entry in found} == entries
        assert len(found) == len(entries)
        for kind in Kind:
            assert [*found.of_kind(kind)] == [entry for entry in found if entry.kind is kind]
        for path in (*entries, *above, b"nothing", b"a/nothing", b"/a"):
            assert found.lookup(path) == entries.get(path)
            assert (path in found) == (path in entries)
            assert found.has_below(path) == (path in above)
            below = {p[len(path) + 1 :] if path else p for p in entries if paths.is_below(p, path) and p}
            assert {*found.below(path)} == {p for p in entries if paths.is_below(p, path)}
            assert found.children(path) == sorted({p.partition(b"/")[0] for p in below})
            assert found.implies(path) == (path not in entries and (path in above or not path))
    assert indexfile.encode(again) == indexfile.encode(made)


def test_what_was_added_is_found_by_its_builder_before_and_after_the_end():
    built = index.Builder()
    entry = Entry(b"a/b", Kind.FILE, 0o644)
    built.add(entry)
    for finish in (list, built.finish):
        finish()
        assert b"a/b" in built
        assert b"a" not in built
        assert (built.lookup(b"a/b"), built.lookup(b"a")) == (entry, None)
