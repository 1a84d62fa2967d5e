"""Where COPY puts things, as entries: no file system takes part."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import folder, memory
from strata_builder.engine import copying, placing, selecting
from strata_builder.entries import Entry, Kind
from support import engine_build

CONTEXT = memory.MemoryTree({b"f": b"f", b"g": b"g", b"d/x": b"x", b"d/s/y": b"y"})


class Lower:
    def __init__(self, entries: Mapping[bytes, Entry]) -> None:
        self.entries = entries

    def lookup(self, path: bytes) -> Entry | None:
        return self.entries.get(path)


LOWER = Lower(
    {
        b"": Entry(b"", Kind.DIR, 0o755),
        b"tmp": Entry(b"tmp", Kind.DIR, 0o1777, uid=3, gid=4),
        b"file": Entry(b"file", Kind.FILE, 0o644),
        b"lnk": Entry(b"lnk", Kind.SYMLINK, 0o777, link=b"/tmp"),
        b"in": Entry(b"in", Kind.DIR, 0o755),
        b"in/x": Entry(b"in/x", Kind.DIR, 0o755),
        b"in2": Entry(b"in2", Kind.DIR, 0o755),
        b"in2/s": Entry(b"in2/s", Kind.SYMLINK, 0o777, link=b"/tmp"),
    }
)


def _place(patterns: list[str], dest: str, manner: placing.Manner | None = None) -> dict[str, Entry]:
    found = [s for pattern in patterns for s in selecting.select(CONTEXT, pattern, where="the context")]
    path, into = copying.destination(dest, "/w")
    layer = placing.Layer(LOWER, manner or placing.Manner())
    placing.place(found, path, into=into, layer=layer, excluded=selecting.excludes(()))
    return {item.entry.path.decode(): item.entry for item in layer.finished()}


@pytest.mark.parametrize(
    ("patterns", "dest", "paths"),
    [
        (["f"], "/a", ["", "a"]),
        (["f"], "/a/", ["", "a", "a/f"]),
        (["f"], ".", ["", "w", "w/f"]),
        (["f"], "rel/name", ["", "w", "w/rel", "w/rel/name"]),
        (["f"], "/tmp", ["", "tmp", "tmp/f"]),
        (["f"], "/lnk/n", ["", "tmp", "tmp/n"]),
        (["f", "g"], "/tmp", ["", "tmp", "tmp/f", "tmp/g"]),
        (["d"], "/o", ["", "o", "o/s", "o/s/y", "o/x"]),
        (["d", "f"], "/o/", ["", "o", "o/f", "o/s", "o/s/y", "o/x"]),
        (["f"], "/../../up", ["", "up"]),
        (["nomatch*"], "/n/", []),
    ],
)
def test_what_lands_where(patterns: list[str], dest: str, paths: list[str]) -> None:
    assert list(_place(patterns, dest)) == paths


@pytest.mark.parametrize(
    ("patterns", "dest", "said"),
    [
        (["d"], "/file", "cannot copy to non-directory: /file is a file"),
        (["f"], "/file/", "cannot copy to non-directory: /file is a file"),
        (["f"], "/file/below", "cannot copy to non-directory: /file is a file"),
        (["d"], "/in", "cannot copy a file over the directory /in/x"),
        (["d"], "/in2", "cannot copy to non-directory: /in2/s is a symbolic link"),
        (["f", "g"], "/new", "several sources need a directory"),
    ],
)
def test_what_cannot_stand_there_is_named(patterns: list[str], dest: str, said: str) -> None:
    with pytest.raises(errors.LayerError, match=said):
        _place(patterns, dest)


def test_parents_keep_their_own_mode_and_owner_whatever_the_flags_say() -> None:
    manner = placing.Manner(owner=(9, 8), mode=lambda _: 0o4600, folder=0o700)
    placed = _place(["f"], "/tmp/new/", manner)
    shown = {path: (entry.mode, entry.uid, entry.gid) for path, entry in placed.items() if path}
    assert shown == {"tmp": (0o1777, 3, 4), "tmp/new": (0o700, 9, 8), "tmp/new/f": (0o4600, 9, 8)}


TREE = memory.MemoryTree({b"a/b/c": b"c", b"a/b/d/e": b"e", b"x": b"x"}, {b"a": 0o700, b"a/b": 0o750})


@pytest.mark.parametrize(
    ("pattern", "modes"),
    [
        ("a/b/c", {"o/a": 0o700, "o/a/b": 0o750, "o/a/b/c": 0o644}),
        ("a/./b/c", {"o/b": 0o750, "o/b/c": 0o644}),
        ("a/b/d", {"o/a": 0o700, "o/a/b": 0o750, "o/a/b/d": 0o755, "o/a/b/d/e": 0o644}),
        ("x", {"o/x": 0o644}),
        ("**/e", {"o/a": 0o700, "o/a/b": 0o750, "o/a/b/d": 0o755, "o/a/b/d/e": 0o644}),
        ("**/x", {"o/x": 0o644}),
        ("a/**/c", {"o/a": 0o700, "o/a/b": 0o750, "o/a/b/c": 0o644}),
    ],
)
def test_kept_parents_are_as_in_their_tree(pattern: str, modes: dict[str, int]) -> None:
    found = selecting.select(TREE, pattern, where="the context", parents=True)
    layer = placing.Layer(LOWER, placing.Manner())
    placing.place(found, b"o", into=True, layer=layer, excluded=selecting.excludes(()))
    placed = {item.entry.path.decode(): item.entry.mode for item in layer.finished() if item.entry.path != b"o"}
    assert {path: mode for path, mode in placed.items() if path} == modes


def test_a_kept_parent_that_is_there_stays_as_it_is() -> None:
    tree = memory.MemoryTree({b"tmp/f": b"f"}, {b"tmp": 0o700})
    layer = placing.Layer(LOWER, placing.Manner(owner=(9, 8)))
    found = selecting.select(tree, "tmp/f", where="the context", parents=True)
    placing.place(found, b"", into=True, layer=layer, excluded=selecting.excludes(()))
    placed = layer.lookup(b"tmp")
    assert placed is not None
    assert (placed.mode, placed.uid, placed.gid) == (0o1777, 3, 4)


def test_files_are_found_however_deep_they_lie() -> None:
    depth = sys.getrecursionlimit() + 100
    deep = b"/".join([b"d"] * depth)
    tree = memory.MemoryTree({deep + b"/f": b""})
    (found,) = selecting.select(tree, "**/f", where="the context", parents=True)
    assert found.path == deep + b"/f"
    assert len(found.kept) == depth
    (folder,) = selecting.select(tree, "d", where="the context")
    below = [path for path, _, _ in selecting.contents(folder, selecting.excludes(()))]
    assert below[-1] == deep.removeprefix(b"d/") + b"/f"


def _archive(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.uid = kind, 0o640, 7
            tar.addfile(member)
    return buffer.getvalue()


def _built(tmp_path: Path, dockerfile: str, files: Mapping[str, str | bytes]) -> list[str]:
    context = folder.FolderTree(engine_build.written(tmp_path / "context", files))
    return engine_build.Engine(tmp_path / "engine").build(dockerfile, context).texts()


def test_an_archives_file_takes_the_place_of_a_directory_and_the_other_way_round(tmp_path: Path) -> None:
    dockerfile = "FROM scratch\nCOPY d /o/\nADD a.tar b.tar /o/\n"
    files = {
        "d/f/below/x": "",
        "d/g": "",
        "a.tar": _archive(
            ("f", tarfile.REGTYPE), ("g", tarfile.DIRTYPE), ("g/y", tarfile.REGTYPE), ("h/z", tarfile.REGTYPE)
        ),
        "b.tar": _archive(("h", tarfile.REGTYPE)),
    }
    made = ["d 0755 0:0 o", "f 0640 7:0 o/f", "d 0640 7:0 o/g", "f 0640 7:0 o/g/y", "f 0640 7:0 o/h"]
    assert _built(tmp_path, dockerfile, files) == made


def test_chmod_is_not_for_what_comes_out_of_an_archive(tmp_path: Path) -> None:
    files = {"a.tar": _archive(("d", tarfile.DIRTYPE), ("d/f", tarfile.REGTYPE)), "plain": ""}
    found = _built(tmp_path, "FROM scratch\nADD --chmod=0711 --chown=9:9 a.tar plain /o/\n", files)
    assert found == ["d 0755 9:9 o", "d 0640 9:9 o/d", "f 0640 9:9 o/d/f", "f 0711 9:9 o/plain"]


@pytest.mark.parametrize(
    ("flags", "made"),
    [
        ("--link", ["d 0755 0:0 etc", "f 0644 0:0 etc/f"]),
        ("--link --chmod=0640", ["d 0700 0:0 etc", "f 0640 0:0 etc/f"]),
        ("--chmod=0640", ["d 0700 0:0 etc", "f 0640 0:0 etc/f"]),
    ],
)
def test_a_mode_never_reaches_directories_that_are_there(tmp_path: Path, flags: str, made: list[str]) -> None:
    dockerfile = f"FROM scratch\nCOPY --chmod=0700 f /etc/old\nCOPY {flags} f /etc/f\n"
    assert _built(tmp_path, dockerfile, {"f": "f"}) == made
