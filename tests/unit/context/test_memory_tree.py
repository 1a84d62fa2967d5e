"""Files held in memory, as a context."""

from __future__ import annotations

import pytest

from strata_builder import contents, errors
from strata_builder.context import memory
from strata_builder.entries import Kind


def test_a_file_brings_its_folders() -> None:
    tree = memory.MemoryTree({b"a/b/c.txt": b"hello", b"top": b""})
    assert tree.children(b"") == [b"a", b"top"]
    assert tree.children(b"a/b") == [b"c.txt"]
    folder, file = tree.lookup(b"a/b"), tree.lookup(b"a/b/c.txt")
    assert folder is not None
    assert (folder.kind, folder.mode) == (Kind.DIR, 0o755)
    assert file is not None
    assert (file.kind, file.mode, file.size, file.uid, file.gid) == (Kind.FILE, 0o644, 5, 0, 0)
    assert tree.open(b"a/b/c.txt").read() == b"hello"
    assert tree.digest(b"a/b/c.txt") == contents.digest(b"hello")


def test_what_is_not_there_is_none_and_reading_it_names_it() -> None:
    assert memory.EMPTY.lookup(b"x") is None
    assert memory.EMPTY.children(b"x") == []
    root = memory.EMPTY.lookup(b"")
    assert root is not None
    assert root.kind == Kind.DIR
    with pytest.raises(errors.LayerError, match="no file 'x'"):
        memory.EMPTY.open(b"x")


@pytest.mark.parametrize("path", [b"/etc/passwd", b"../x", b"a/../b", b"a//b", b"./a", b"", b"a/", b"a\0b", b"n" * 256])
def test_a_path_outside_the_context_is_refused(path: bytes) -> None:
    with pytest.raises(errors.InvalidSpec):
        memory.MemoryTree({path: b""})


def test_a_name_cannot_be_file_and_folder() -> None:
    with pytest.raises(errors.InvalidSpec, match="both a file 'a' and files below it"):
        memory.MemoryTree({b"a": b"", b"a/b": b""})


def test_modes_are_as_given() -> None:
    tree = memory.MemoryTree({b"bin/run": b"#!"}, {b"bin/run": 0o755, b"bin": 0o700}, mtime=7)
    found = [tree.lookup(path) for path in (b"bin", b"bin/run")]
    assert [(entry.mode, entry.mtime) for entry in found if entry] == [(0o700, 7), (0o755, 7)]
