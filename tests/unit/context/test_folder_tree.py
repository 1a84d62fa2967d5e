"""A directory as a context: links are never followed, ignored parts never entered, changes while reading noticed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_builder import contents, errors
from strata_builder.context import folder, stable
from strata_builder.context.tree import Tree
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.entries import Kind


def make(root: Path, names: str) -> Path:
    """Folders (names that end in a slash) and files that hold their own name."""
    for name in names.split():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_text(name)
    return root


def walk(tree: Tree, path: bytes = b"") -> Iterator[str]:
    for name in tree.children(path):
        inner = path + b"/" + name if path else name
        entry = tree.lookup(inner)
        assert entry is not None
        yield inner.decode() + "/" * (entry.kind == Kind.DIR)
        yield from walk(tree, inner)


def listed(root: Path, ignore: str = "") -> set[str]:
    return set(walk(folder.FolderTree(root, IgnoreRules.parse(ignore.encode()) if ignore else None)))


def test_entries_are_as_lstat_tells_but_owned_by_root(tmp_path: Path) -> None:
    make(tmp_path, "d/f e/")
    os.chmod(tmp_path / "d/f", 0o4750)
    os.utime(tmp_path / "d/f", (1, 1234567890.9))
    os.symlink("../e", tmp_path / "d/l")
    os.mkfifo(tmp_path / "d/p", 0o600)
    tree = folder.FolderTree(tmp_path)
    f, link, fifo = (tree.lookup(path) for path in (b"d/f", b"d/l", b"d/p"))
    assert f is not None
    assert (f.kind, f.mode, f.mtime, f.size, f.uid, f.gid) == (Kind.FILE, 0o4750, 1234567890, 3, 0, 0)
    assert link is not None
    assert (link.kind, link.link) == (Kind.SYMLINK, b"../e")
    assert fifo is not None
    assert fifo.kind == Kind.FIFO
    assert tree.open(b"d/f").read() == b"d/f"
    assert tree.digest(b"d/f") == contents.digest(b"d/f")


def test_names_keep_their_bytes(tmp_path: Path) -> None:
    name = b"caf\xe9\n\xff"
    (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    tree = folder.FolderTree(tmp_path)
    assert tree.children(b"") == [name]
    assert tree.open(name).read() == b"x"


def test_nothing_lies_beyond_a_link(tmp_path: Path) -> None:
    make(tmp_path, "ctx/real/f outside/secret")
    os.symlink("real", tmp_path / "ctx/in")
    os.symlink(tmp_path / "outside", tmp_path / "ctx/out")
    tree = folder.FolderTree(tmp_path / "ctx")
    for path in (b"in/f", b"out/secret", b"../outside/secret", b"real/../../outside/secret", b"/real/f", b"real/./f"):
        assert tree.lookup(path) is None, path
        with pytest.raises(errors.LayerError):
            tree.open(path)
    assert tree.children(b"out") == []


def test_a_file_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "ctx/f secret")
    tree = folder.FolderTree(tmp_path / "ctx")
    assert tree.lookup(b"f") is not None
    (tmp_path / "ctx/f").unlink()
    os.symlink(tmp_path / "secret", tmp_path / "ctx/f")
    with pytest.raises(errors.LayerError, match="'f' changed while"):
        tree.open(b"f")


def test_a_folder_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "ctx/d/f outside/f")
    tree = folder.FolderTree(tmp_path / "ctx")
    assert tree.children(b"") == [b"d"]
    os.rename(tmp_path / "ctx/d", tmp_path / "old")
    os.symlink(tmp_path / "outside", tmp_path / "ctx/d")
    with pytest.raises(errors.LayerError, match="'d' changed"):
        tree.children(b"d")


def test_a_fifo_in_a_files_place_does_not_hang(tmp_path: Path) -> None:
    make(tmp_path, "f")
    tree = folder.FolderTree(tmp_path)
    assert tree.lookup(b"f") is not None
    (tmp_path / "f").unlink()
    os.mkfifo(tmp_path / "f")
    with pytest.raises(errors.LayerError, match="changed"):
        tree.open(b"f")


@pytest.mark.parametrize("size", [0, 1, 100, stable.SMALL, stable.SMALL + 1])
@pytest.mark.parametrize("change", ["longer", "shorter", "same size", "gone", "a fifo", "a folder"])
def test_a_file_that_changes_is_noticed(tmp_path: Path, change: str, size: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * size)
    tree = folder.FolderTree(tmp_path)
    assert tree.lookup(b"f") is not None
    time.sleep(0.01)  # a tick of the kernel's clock, which stamps the change
    if change in ("longer", "shorter", "same size"):
        path.write_bytes(b"b" * max(0, size + {"longer": 1, "shorter": -1, "same size": 0}[change]))
    else:
        path.unlink()
    if change == "a fifo":
        os.mkfifo(path)
    elif change == "a folder":
        path.mkdir()
    for read in (lambda: _all_of(tree, b"f"), lambda: tree.digest(b"f")):
        with pytest.raises(errors.LayerError, match="'f' changed while the build was reading"):
            read()


@pytest.mark.parametrize("size", [100, stable.SMALL + 100])
def test_what_changes_while_it_is_read_is_noticed_or_read_as_it_was(tmp_path: Path, size: int) -> None:
    """A small file is read at once, so that nobody sees two halves of different versions."""
    path = tmp_path / "f"
    path.write_bytes(b"a" * size)
    tree = folder.FolderTree(tmp_path)
    tree.lookup(b"f")

    def read() -> bytes:
        with contextlib.closing(tree.open(b"f")) as file:
            begun = file.read(50) or b""
            path.write_bytes(b"b" * size)
            return begun + (file.read() or b"")

    if size <= stable.SMALL:
        assert read() == b"a" * size
    else:
        with pytest.raises(errors.LayerError, match="'f' changed while the build was reading"):
            read()


def _all_of(tree: folder.FolderTree, path: bytes) -> bytes:
    with contextlib.closing(tree.open(path)) as file:
        return file.read() or b""


def test_sockets_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "f")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert listed(tmp_path) == {"f"}


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    make(tmp_path, "file")
    with pytest.raises(errors.SourceNotFound, match=r"nowhere: No such file"):
        folder.FolderTree(tmp_path / "nowhere")
    with pytest.raises(errors.SourceNotFound, match="not a directory"):
        folder.FolderTree(tmp_path / "file")


def test_the_context_itself_may_be_reached_through_a_link(tmp_path: Path) -> None:
    make(tmp_path, "real/f")
    os.symlink("real", tmp_path / "link")
    assert listed(tmp_path / "link") == {"f"}


def test_extended_attributes_of_the_machine_stay_out(tmp_path: Path) -> None:
    make(tmp_path, "f")
    try:
        os.setxattr(tmp_path / "f", "user.note", b"1")
        os.setxattr(tmp_path / "f", "user.overlay.opaque", b"y")
    except OSError:
        pytest.skip("this file system takes no extended attributes of users")
    entry = folder.FolderTree(tmp_path).lookup(b"f")
    assert entry is not None
    assert entry.xattrs == ((b"user.note", b"1"),)


SUB = "top.py top.txt sub/s.py sub/s.txt sub/deep/d.py emptydir/ Dockerfile .dockerignore"
TESTS = "test/x app/test/y app/svc/test/z app/keep .git/HEAD app/.git/HEAD"
TABLE = [
    (SUB, "*\n!**/*.py", "top.py sub/ sub/s.py sub/deep/ sub/deep/d.py"),
    (TESTS, "**/test\n**/.git", "app/ app/keep app/svc/"),
    ("README.md README-secret.md a.md", "*.md\n!README*.md\nREADME-secret.md", "README.md"),
    ("README.md README-secret.md a.md", "*.md\nREADME-secret.md\n!README*.md", "README.md README-secret.md"),
    ("sub/a sub/deep/d.py sub/deep/e x", "sub\n!sub/deep/d.py", "sub/ sub/deep/ sub/deep/d.py x"),
    ("sub/a sub/deep/d x", "sub/*\n!sub/*/", "sub/ sub/a sub/deep/ sub/deep/d x"),
    ("sub/a x", "/sub/", "x"),
    ("a/b/c/d/e/f x", "a\n!a/b/c/d/e/nothing", "x"),
]


@pytest.mark.parametrize(("names", "ignore", "expected"), TABLE)
def test_ignored_paths_do_not_exist(tmp_path: Path, names: str, ignore: str, expected: str) -> None:
    root = make(tmp_path, names)
    assert listed(root, ignore) == set(expected.split())
    tree = folder.FolderTree(root, IgnoreRules.parse(ignore.encode()))
    gone = {name.rstrip("/") for name in names.split()} - {name.rstrip("/") for name in expected.split()}
    assert [name for name in gone if tree.lookup(name.encode()) is not None] == []


def test_an_ignored_folder_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "node_modules/a/b keep")
    read: list[str] = []
    scan = os.listdir

    def listdir(descriptor: int) -> list[str]:
        read.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        return scan(descriptor)

    monkeypatch.setattr(os, "listdir", listdir)
    tree = folder.FolderTree(tmp_path, IgnoreRules.parse(b"node_modules\n!keep\n"))
    assert set(walk(tree)) == {"keep"}
    assert tree.lookup(b"node_modules") is None
    assert read == [str(tmp_path.resolve())]


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A tower of folders, taken down step by step: what removes folders by recursion cannot."""
    depth, before = 1500, Path.cwd()
    os.chdir(tmp_path)
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    yield tmp_path, depth
    for _ in range(depth):
        os.chdir("..")
        os.rmdir("d")
    os.chdir(before)


def test_a_deep_tree_needs_no_recursion(deep: tuple[Path, int]) -> None:
    root, depth = deep
    assert folder.FolderTree(root, IgnoreRules.parse(b"d\n!**/absent\n")).lookup(b"d") is None
    assert folder.FolderTree(root).lookup(b"/".join([b"d"] * depth)) is not None


def test_a_tree_of_many_folders_has_few_of_them_open(tmp_path: Path) -> None:
    make(tmp_path, " ".join(f"d{n}/e/f" for n in range(100)))
    before = len(os.listdir("/proc/self/fd"))
    tree = folder.FolderTree(tmp_path)
    digests = {tree.digest(b"d%d/e/f" % n) for n in range(100)}
    assert len(digests) == 100
    assert before < len(os.listdir("/proc/self/fd")) <= before + 33
    del tree
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_are_read_by_many_threads_at_once(tmp_path: Path) -> None:
    paths = [b"d%d/f" % n for n in range(200)]
    make(tmp_path, " ".join(os.fsdecode(path) for path in paths))
    tree = folder.FolderTree(tmp_path)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(tree.digest, paths * 3))
    assert found == [contents.digest(path) for path in paths] * 3
