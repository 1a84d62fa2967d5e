"""An unchanged context is not read again, and nothing that changed is taken for unchanged."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from strata_builder import contents
from strata_builder.context import folder, remembered, stable
from support.apart import apart

LATER = 10 * 10**9  # ns


def build(root: Path, file: Path, *, clock: Callable[[], int] | None = None, mounts: Path | None = None) -> str:
    """The digest of the file `f`, as a build finds it that keeps its digests in `file`."""
    known = remembered.Digests(
        file,
        clock=clock or (lambda: (root / "f").stat().st_ctime_ns + LATER),
        mounts=mounts or Path("/proc/self/mountinfo"),
    )
    found = folder.FolderTree(root, known=known).digest(b"f")
    known.keep()
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("first")
    (context / "g").write_text("other")
    devices = {int(line.split()[2].split(b":")[1]) for line in Path("/proc/self/mountinfo").read_bytes().splitlines()}
    if os.minor(context.stat().st_dev) not in devices:
        pytest.skip("the test's folder is on no file system that is relied upon")
    return context


def of(text: str) -> str:
    return contents.digest(text.encode())


def swapped(file: Path) -> None:
    """Another digest in the place of the one that is kept: who finds it has not read the file."""
    data = file.read_bytes()
    file.write_bytes(data[:-32] + bytes.fromhex(of("swapped")))


def test_an_unchanged_file_is_not_read_again(root: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert build(root, kept) == of("first")
    swapped(kept)
    assert build(root, kept) == of("swapped")


def test_digests_that_another_build_has_removed_meanwhile_are_no_failure(root: Path, tmp_path: Path) -> None:
    build(root, tmp_path / "kept")
    known = remembered.Digests(tmp_path / "kept", clock=lambda: (root / "f").stat().st_ctime_ns + LATER)
    assert folder.FolderTree(root, known=known).digest(b"f") == of("first")
    (tmp_path / "kept").unlink()
    known.keep()


def _with_old_time(root: Path, change: Callable[[Path], object]) -> None:
    before = (root / "f").stat()
    change(root / "f")
    os.utime(root / "f", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda r: (r / "f").write_text("longer than first"),
    "content of equal size and time": lambda r: _with_old_time(r, lambda f: f.write_text("later")),
    "another file of equal size and time": lambda r: _with_old_time(r, (r / "g").replace),
    "a change of its mode alone": lambda r: (r / "f").chmod(0o600),
    "one byte in place": lambda r: _with_old_time(r, lambda f: os.pwrite(os.open(f, os.O_WRONLY), b"x", 0)),
    "truncation and writing": lambda r: _with_old_time(r, lambda f: (f.write_text(""), f.write_text("abcde"))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_changed_is_read(root: Path, tmp_path: Path, name: str) -> None:
    kept = tmp_path / "kept"
    build(root, kept)
    swapped(kept)
    CHANGES[name](root)
    assert build(root, kept) == of((root / "f").read_text())


def test_what_changed_just_before_it_was_hashed_is_not_remembered(root: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    build(root, kept, clock=lambda: (root / "f").stat().st_ctime_ns + 10**8)
    assert not kept.exists()


def test_on_other_file_systems_nothing_is_remembered(root: Path, tmp_path: Path) -> None:
    kept, mounts = tmp_path / "kept", tmp_path / "mounts"
    device = root.stat().st_dev
    line = f"36 35 {os.major(device)}:{os.minor(device)} / / rw master:1 - fuse.sshfs host rw\n"
    mounts.write_text(line)
    build(root, kept, mounts=mounts)
    assert not kept.exists()
    build(root, kept)
    swapped(kept)
    assert build(root, kept, mounts=mounts) == of("first")


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: b"x" + d[1:], lambda _: b"", lambda d: d + b"x"])
def test_a_damaged_file_of_digests_counts_as_none(root: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    kept = tmp_path / "kept"
    build(root, kept)
    swapped(kept)
    kept.write_bytes(damage(kept.read_bytes()))
    assert build(root, kept) == of("first")


def test_what_is_learnt_of_a_large_context_takes_little_more_than_its_file(root: Path, tmp_path: Path) -> None:
    count = 10_000
    taken = apart(lambda: _learning(tmp_path / "kept", root / "f", count))
    size = (tmp_path / "kept").stat().st_size
    assert size > count * 72
    assert taken < 1.5 * size


def _learning(kept: Path, like: Path, count: int) -> int:
    """The most bytes that were in use while the digests of so many files were learnt and kept."""
    known, status, digest = remembered.Digests(kept), like.stat(), bytes.fromhex(of("first"))
    stamp = stable.stamp(status)
    tracemalloc.start()
    try:
        for number in range(count):
            known.add(stamp[:8] + number.to_bytes(8, "little") + stamp[16:], digest, status.st_ctime_ns + LATER)
        known.keep()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
