"""Stacks of layers look the same whether what their upper layers cover is unpacked or not."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from strata_builder.entries import Item, Kind
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import covered, inplace
from strata_builder.sandbox import roots
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
        elif rng.random() < 0.4 and not any(name.startswith(f"{path.decode()}/") for path in gone):
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


@pytest.mark.parametrize("seed", range(30))
def test_a_stack_shows_what_its_layers_make_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(covered, "_MANY", 1)
    rng, blobs = random.Random(seed), LocalBlobs(tmp_path / "blobs")
    layers = [layer for _ in range(rng.randint(2, 5)) if (layer := _layer(rng, blobs)) is not None]
    with tmpfs(tmp_path / "scratch") as scratch:
        places = roots.UserNSRoots(scratch / "roots", blobs, scratch / "caches")
        inplace.unpacked(scratch / "one", blobs, layers)
        with places.show(layers) as shown:
            assert _seen(shown) == _seen(scratch / "one")
        places.close()
