"""What packing the layers of many stages at once takes, and that it gives the layers that packing alone gives."""

from __future__ import annotations

import io
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import pytest

from strata_builder.engine import packing
from strata_builder.entries import Entry, Item, Kind
from strata_builder.layers import compress, pack
from strata_builder.layers.items import Items
from support.apart import apart
from support.layertrees import file, folder

MiB = 1 << 20


def watched(size: int, opened: Callable[[], object]) -> Item:
    """A file of `size` bytes; `opened` is called when it is read."""

    def read() -> io.BytesIO:
        opened()
        return io.BytesIO(bytes(size))

    return Item(Entry(b"f", Kind.FILE, 0o644, size=size), read)


def at_once(count: int, size: int, folder: Path, opened: Callable[[], object]) -> list[pack.PackedLayer]:
    """So many layers of one file each, packed side by side."""

    def one(number: int) -> pack.PackedLayer:
        items = [watched(size, opened)]
        layer = packing.packed(items, [], blob=folder / f"{size}-{number}", compression="gzip")
        assert layer is not None
        return layer

    with futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_twenty_small_layers_at_once_take_a_block_each(tmp_path: Path):
    def peak() -> int:
        together = threading.Barrier(20)
        tracemalloc.start()
        layers = at_once(20, 1000, tmp_path, lambda: together.wait(30))
        assert len({layer.digest for layer in layers}) == 1
        return tracemalloc.get_traced_memory()[1]

    assert apart(peak) < 20 * 1.5 * compress.BLOCK


def test_of_large_layers_some_are_packed_at_once_and_the_others_wait(tmp_path: Path):
    together = threading.Barrier(packing.LARGE_AT_ONCE)
    lock, inside, most = threading.Lock(), 0, 0

    def opened() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait(30)
        time.sleep(0.05)  # for one too many to come in
        with lock:
            inside -= 1

    layers = at_once(2 * packing.LARGE_AT_ONCE, 2 * MiB, tmp_path, opened)
    assert len({layer.digest for layer in layers}) == 1
    assert most == packing.LARGE_AT_ONCE


@pytest.mark.parametrize("size", [0, 1, 1000, MiB - 512, MiB - 511, MiB, 3 * MiB + 1])
def test_the_size_does_not_change_how_the_bytes_come_out(tmp_path: Path, size: int):
    items = [folder("d"), file("d/f", bytes(range(256)) * (size // 256) + bytes(size % 256))]
    whiteouts = [b"gone"]
    expected = pack.pack(items, whiteouts, blob=tmp_path / "expected", threads=3)
    assert expected is not None
    for given in (items, Items(items)):
        found = packing.packed(given, whiteouts, blob=tmp_path / "found", compression="gzip")
        assert found is not None
        assert (found.digest, found.diff_id, found.size) == (expected.digest, expected.diff_id, expected.size)


def test_a_layer_of_nothing_is_none(tmp_path: Path):
    assert packing.packed([], [], blob=tmp_path / "blob", compression="gzip") is None
