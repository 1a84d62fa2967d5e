"""What the scenarios are made of: trees of this machine's own files, which compress as real ones do."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

_MIXED_FROM = ("/usr/lib", "/usr/share", "/usr/local")
_TEXT_FROM = ("/usr/share", "/usr/lib/python3", "/usr/local")
_LARGEST = 40_000_000  # bytes of one file: a single one is no mixed tree
_TEXTS = 64 << 20
_BLOCK = 1 << 20


def mixed(folder: Path, size: int) -> None:
    """Programs, libraries, text and links, `size` bytes together."""
    left = size
    for path in itertools.chain.from_iterable(_files(Path(root)) for root in _MIXED_FROM):
        to = folder / str(path).lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            to.symlink_to(path.readlink())
        else:
            left -= path.stat().st_size
            shutil.copyfile(path, to)
        if left <= 0:
            return
    raise RuntimeError(f"this machine has too few files below {', '.join(_MIXED_FROM)}: {left} bytes are missing")


def small(folder: Path, count: int, *, seed: int = 1) -> None:
    """`count` small files of text in folders of 200, sizes around 1.2 kB."""
    chance, text = random.Random(seed), _text()
    for number in range(count):
        if number % 200 == 0:
            below = folder / f"{number // 10_000:02}" / f"{number // 200:03}"
            below.mkdir(parents=True)
        length = min(int(chance.lognormvariate(7.1, 1.1)) + 1, 100_000)
        start = chance.randrange(len(text) - length)
        (below / f"file-{number}.txt").write_bytes(text[start : start + length])


def empty(folder: Path, count: int) -> None:
    """`count` files without content in folders of a thousand."""
    for number in range(count):
        if number % 1000 == 0:
            below = folder / f"{number // 1000:04}"
            below.mkdir(parents=True)
        os.close(os.open(below / f"{number % 1000:03}", os.O_CREAT | os.O_WRONLY, 0o644))


def big(path: Path, size: int, *, random_share: float = 1.0, seed: int = 1) -> None:
    """One file, of which `random_share` cannot be compressed."""
    chance, text = random.Random(seed), _text()
    with path.open("wb") as out:
        for number in range(size // _BLOCK):
            hard = (number * random_share) % 1 + random_share >= 1
            start = (number * _BLOCK) % (len(text) - _BLOCK)
            out.write(chance.randbytes(_BLOCK) if hard else text[start : start + _BLOCK])


def _text() -> bytes:
    """Many text files after one another."""
    found = bytearray()
    for path in itertools.chain.from_iterable(_files(Path(root)) for root in _TEXT_FROM):
        if not path.is_symlink() and path.suffix in (".py", ".go", ".txt", ".md", ".html", ".h", ".pm", ".sh", ""):
            found += path.read_bytes()[:200_000]
        if len(found) >= _TEXTS:
            break
    return bytes(found)


def _files(root: Path) -> Iterator[Path]:
    """Regular files and relative links, in an order that is always the same."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from filter(_usable, (Path(folder, name) for name in sorted(names)))


def _usable(path: Path) -> bool:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return not path.readlink().is_absolute()
    return stat.S_ISREG(found.st_mode) and 0 < found.st_size <= _LARGEST and os.access(path, os.R_OK)
