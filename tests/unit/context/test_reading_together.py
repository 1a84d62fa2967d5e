"""Several processes read a context: what they find is what one alone finds, and what goes wrong is told by one."""

from __future__ import annotations

import collections
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strata_builder import contents, errors, workers
from strata_builder.context import directories, elsewhere, folder, remembered
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.engine import hashing, selecting
from strata_builder.entries import Entry, Kind

LARGE = 5 << 20  # more than one call takes


def walked(tree: folder.FolderTree) -> list[tuple[bytes, Entry]]:
    """As a COPY of all of it is hashed."""
    (source,) = selecting.select(tree, ".", where="the context")
    with hashing.ahead(tree, b""):
        found = selecting.contents(source, selecting.excludes(()))
        return list(hashing.digested(hashing.Named(below, tree, path, entry) for below, path, entry in found))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[str]:
    """Counts what this process reads itself."""
    found = collections.Counter[str]()

    def counted(name: str, size: Callable[..., int]) -> None:
        real = getattr(directories.Directories, name)

        def counting(self: directories.Directories, *arguments: Any) -> object:
            found[name] += size(*arguments)
            return real(self, *arguments)

        monkeypatch.setattr(directories.Directories, name, counting)

    counted("_scan", lambda _: 1)
    counted("open", lambda _: 1)
    counted("hash", lambda _folder, _found, files: len(files))
    return found


def make(root: Path, seed: int) -> int:
    """A tree with what there is in trees; how many directories and files it has."""
    chance, folders, count = random.Random(seed), [root], 0
    root.mkdir()
    for number in range(400):
        place = chance.choice(folders)
        name = place / f"{chance.choice(('a', 'b', 'ü', '.x', '-'))}{number}"
        kind = chance.random()
        if kind < 0.15:
            name.mkdir()
            folders.append(name)
        elif kind < 0.2:
            name.symlink_to(chance.choice(("..", "nowhere", "a1")))
        elif kind < 0.25 and (files := [one for one in place.iterdir() if one.is_file() and not one.is_symlink()]):
            name.hardlink_to(chance.choice(files))
        elif kind < 0.27:
            os.mkfifo(name)
        else:
            name.write_bytes(chance.randbytes(chance.choice((0, 1, 100, 70_000))))
        count += kind < 0.15 or kind >= 0.27
    (root / "large").write_bytes(bytes(LARGE))
    return count


@pytest.fixture
def helped() -> Iterator[None]:
    with workers.started(2):
        yield


@pytest.mark.parametrize("ignore", [None, b"a*\n!a1*\n*/b*\n**/.x*\n"])
@pytest.mark.parametrize("seed", range(5))
def test_all_find_what_one_finds(
    tmp_path: Path, seed: int, ignore: bytes | None, reads: collections.Counter[str]
) -> None:
    count = make(tmp_path / "context", seed)
    rules = IgnoreRules.parse(ignore) if ignore else None
    alone = walked(folder.FolderTree(tmp_path / "context", rules))
    reads.clear()
    with workers.started(2):
        assert walked(folder.FolderTree(tmp_path / "context", rules)) == alone
    assert all(entry.digest for _, entry in alone if entry.kind is Kind.FILE)
    assert reads.total() < count, "nobody helped"


def test_what_was_read_together_is_there_for_later(
    helped: None, tmp_path: Path, reads: collections.Counter[str]
) -> None:
    make(tmp_path / "context", 7)
    tree = folder.FolderTree(tmp_path / "context")
    found = walked(tree)
    reads.clear()
    assert walked(tree) == found
    assert {path: tree.lookup(path) for path, _ in found if b"/" not in path}
    assert reads.total() == 0


def test_a_file_with_many_names_is_read_once(helped: None, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"content")
    for number in range(20):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}/name").hardlink_to(tmp_path / "one")
    found = dict(walked(folder.FolderTree(tmp_path)))
    files = [path for path, entry in found.items() if entry.kind is Kind.FILE]
    assert files == [b"d0/name"]
    assert found[b"d0/name"].digest == contents.digest(b"content")
    assert {entry.link for entry in found.values() if entry.kind is Kind.HARDLINK} == {b"d0/name"}


def test_workers_that_die_are_done_without(tmp_path: Path) -> None:
    make(tmp_path / "context", 3)
    alone = walked(folder.FolderTree(tmp_path / "context"))
    with workers.started(2):
        with workers.borrowed() as found:
            for worker in found:
                worker.ask(os.getpid)
            pids = [worker.answer() for worker in found]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert walked(folder.FolderTree(tmp_path / "context")) == alone
        with workers.borrowed() as found:
            assert found == []


def test_what_changes_meanwhile_is_told_with_its_name(helped: None, tmp_path: Path) -> None:
    make(tmp_path / "context", 4)
    tree = folder.FolderTree(tmp_path / "context")
    tree.lookup(b"large")
    (tmp_path / "context/large").write_bytes(b"another")
    with pytest.raises(errors.LayerError, match="'large' changed"):
        walked(tree)


def test_a_directory_that_is_gone_is_told_with_its_name(helped: None, tmp_path: Path) -> None:
    (tmp_path / "context/gone").mkdir(parents=True)
    tree = folder.FolderTree(tmp_path / "context")
    tree.lookup(b"gone")
    (tmp_path / "context/gone").rmdir()
    with pytest.raises(errors.LayerError, match="'gone' changed"):
        walked(tree)


def test_after_a_failure_the_workers_are_at_hand_or_ended(helped: None, tmp_path: Path) -> None:
    make(tmp_path / "context", 5)
    tree = folder.FolderTree(tmp_path / "context")
    with hashing.ahead(tree, b""):
        tree.entries(b"")  # and no more: the walk has failed
    assert tree.entries(b"")
    again = folder.FolderTree(tmp_path / "context")
    assert len(walked(again)) > 400


def test_a_worker_does_not_take_another_directory_of_that_name_for_the_same(helped: None, tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "context").mkdir()
        (tmp_path / "context/file").write_text(text)
        found = dict(walked(folder.FolderTree(tmp_path / "context")))
        assert found[b"file"].digest == contents.digest(text.encode())
        (tmp_path / "context").rename(tmp_path / f"was {text}")


def test_what_is_no_longer_there_has_no_digest_of_a_worker(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    tree = folder.FolderTree(tmp_path)
    stamp = tree.directories.read(b"").stamp(0)
    known = bytes.fromhex(contents.digest(b"text"))
    assert (
        elsewhere.digests(tree.directories.identified, b"", [b"file", b"none"], stamp * 2)
        == known + elsewhere.listing.UNKNOWN
    )
    with pytest.raises(errors.LayerError, match="another directory"):
        elsewhere.digests((os.fsencode(tmp_path), 0, 0), b"", [b"file"], stamp)


def test_digests_of_workers_are_remembered_and_not_asked_for_again(
    helped: None, tmp_path: Path, reads: collections.Counter[str]
) -> None:
    make(tmp_path / "context", 6)
    later = lambda: time.time_ns() + 10**10  # noqa: E731 -- what changed just now is not remembered
    digests = remembered.Digests(tmp_path / "digests", clock=later)
    found = walked(folder.FolderTree(tmp_path / "context", known=digests))
    digests.keep()
    assert (tmp_path / "digests").exists()
    for path in (tmp_path / "context").rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0)  # a change of mode moves the ctime
            break
    again = remembered.Digests(tmp_path / "digests", clock=later)
    reads.clear()
    tree = folder.FolderTree(tmp_path / "context", known=again)
    assert [(name, entry.digest) for name, entry in walked(tree)] == [(name, entry.digest) for name, entry in found]
    assert reads["open"] + reads["hash"] <= 1
