"""Digests of many files are those of each, in order, and a failure is the file's own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from strata_builder import contents, errors
from strata_builder.context import folder
from strata_builder.engine import hashing
from strata_builder.entries import Kind

SIZES = {"small": 10, "empty": 0, "large": 300_000, "larger": 3 << 20, "largest": 9 << 20}


def listed(tree: folder.FolderTree) -> list[hashing.Named]:
    found = [(name, tree.lookup(name)) for name in tree.children(b"")]
    return [hashing.Named(b"as/" + name, tree, name, entry) for name, entry in found if entry is not None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, size in SIZES.items():
        (tmp_path / name).write_bytes(name.encode() * (size // len(name) + 1) if size else b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("small")
    return tmp_path


def test_each_file_has_its_digest_and_nothing_else_has_one(root: Path) -> None:
    found = dict(hashing.digested(listed(folder.FolderTree(root))))
    assert list(found) == sorted(found)
    for name, entry in found.items():
        path = root / name.decode().removeprefix("as/")
        is_file = entry.kind is Kind.FILE
        assert entry.digest == (contents.digest(path.read_bytes()) if is_file else "")


def test_large_files_are_hashed_in_several_threads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = folder.FolderTree(root)
    together = threading.Barrier(2, timeout=30)
    digest = tree.digest

    def noticed(path: bytes) -> str:
        if path in (b"larger", b"largest") and threading.current_thread() is not threading.main_thread():
            together.wait()  # passes only when both are at work
        return digest(path)

    monkeypatch.setattr(tree, "digest", noticed)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    assert dict(hashing.digested(listed(tree)))


def test_a_large_file_that_cannot_be_read_is_named(root: Path) -> None:
    tree = folder.FolderTree(root)
    found = listed(tree)
    (root / "larger").unlink()
    with pytest.raises(errors.LayerError, match="'larger' changed"):
        list(hashing.digested(found))


def test_trees_larger_than_what_is_looked_at_together_keep_their_order(root: Path) -> None:
    tree = folder.FolderTree(root)
    one = next(item for item in listed(tree) if item.path == b"small")
    many = [one._replace(name=b"%d" % number) for number in range(10_000)]
    assert [name for name, _ in hashing.digested(many)] == [item.name for item in many]
