"""Stacks of layers look the same whether what their upper layers cover is unpacked or not."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_builder import workers
from strata_builder.entries import Item, Kind
from strata_builder.layers import paths
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import covered, inplace, kept
from strata_builder.rootfs.view import View
from strata_builder.sandbox import roots
from support import tars
from support.layertrees import file, folder, hard, link
from support.sandboxes import LocalBlobs, tmpfs

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]

NAMES = ("a", "a/b", "a/b/c", "a/b/d", "a/e", "f", "f/g", "h")


def _layer(rng: random.Random, blobs: LocalBlobs) -> LayerRef | None:
    items: dict[str, Item] = {}
    gone: list[bytes] = []
    for name in NAMES:
        above = [items[parent] for parent in NAMES if name.startswith(f"{parent}/") and parent in items]
        if any(item.entry.kind is not Kind.DIR for item in above):
            continue
        others = [path for path, item in items.items() if item.entry.kind is Kind.FILE]
        makers = [folder(name), folder(name), file(name, rng.randbytes(20)), link(name, "x")]
        if rng.random() < 0.5:
            items[name] = rng.choice([*makers, *(hard(name, other) for other in others)])
        elif rng.random() < 0.4:
            gone.append(name.encode())
    return blobs.add(items.values(), gone)


def _seen(root: Path) -> dict[str, object]:
    """What each path is, and holds."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        content = path.readlink() if stat.S_ISLNK(mode) else path.read_bytes() if stat.S_ISREG(mode) else None
        found[str(path.relative_to(root))] = stat.S_IFMT(mode), content
    return found


@pytest.mark.parametrize(
    "markers",
    [
        [b".wh.a", b"a/.wh.b"],
        [b".wh.a", b"a/.wh..wh..opq"],
        [b".wh.a", b"a/b/.wh..wh..opq"],
        [b"a/.wh..wh..opq", b"a/.wh.e", b"a/b/.wh.c"],
        [b".wh..wh..opq", b"a/.wh.b", b".wh.f", b"a/b/.wh..wh..opq"],
    ],
)
def test_what_is_hidden_below_what_the_same_layer_hides_leaves_no_trace(tmp_path: Path, markers: list[bytes]) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    lower = [folder("a"), folder("a/b"), file("a/b/c"), file("a/e"), file("f"), file("h")]
    upper = blobs.add_tar(b"".join(tars.member(marker) for marker in [*markers, b".wh.h"]) + tars.END)
    layers = [blobs.must_add(lower), upper]
    with tmpfs(tmp_path / "scratch") as scratch:
        places = roots.UserNSRoots(scratch / "roots", blobs, scratch / "caches")
        inplace.unpacked(scratch / "one", blobs, layers)
        with places.show(layers) as shown:
            assert _seen(shown) == _seen(scratch / "one")
            assert {os.fsencode(path) for path in _seen(shown)} == set(_paths(blobs.view(layers)))
        places.close()


def _paths(shown: View, folder: bytes = b"") -> Iterator[bytes]:
    for path in (paths.join(folder, name) for name in shown.children(folder)):
        yield path
        yield from _paths(shown, path)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("count", [0, 2])
def test_a_stack_shows_what_its_layers_make_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, count: int
) -> None:
    monkeypatch.setattr(covered, "_MANY", 1)
    rng, blobs = random.Random(seed), LocalBlobs(tmp_path / "blobs")
    layers = [layer for _ in range(rng.randint(2, 5)) if (layer := _layer(rng, blobs)) is not None]
    with tmpfs(tmp_path / "scratch") as scratch:
        inplace.unpacked(scratch / "one", blobs, layers)
        for name in ("first", "again"):
            store, before = kept.Folder(scratch / "layers"), len(blobs.opened)
            places = roots.UserNSRoots(scratch / name, blobs, scratch / "caches", store=store)
            with workers.started(count), places.show(layers) as shown:
                assert _seen(shown) == _seen(scratch / "one")
            places.close()
            store.close()
        assert len(blobs.opened) == before, "the second time all of it was there"
