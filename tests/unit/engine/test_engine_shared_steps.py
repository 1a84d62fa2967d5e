"""A step that two stages have: it is made once, for a RUN makes another layer each time, and its key stands for one."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_builder.context import memory
from strata_builder.engine import steps
from strata_builder.entries import Entry, Item, Kind
from strata_builder.oci.image import Image
from strata_builder.oci.platform import Platform
from strata_builder.rootfs.view import View
from support.engine_build import Engine
from support.fake_roots import FakeRoot, FakeRoots

TWICE = "FROM base AS a\nRUN x\nRUN one\nFROM base\nRUN x\nRUN two\nCOPY --from=a /ran /a\n"


class Base:
    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        image = Image.scratch(platform)
        return steps.Base(reference, image.digest, image, reference)


class Numbered(FakeRoots):
    """Each step takes its time, and leaves its number."""

    def __init__(self, folder: Path, *, exclusive: bool) -> None:
        super().__init__(folder)
        self.exclusive = exclusive
        self.numbers = itertools.count(1)

    def open(self) -> FakeRoot:
        return _Root(self.numbers)


class _Root(FakeRoot):
    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers

    def changes(self, lower: View, *, clamp: int | None) -> tuple[list[Item], list[bytes]]:
        time.sleep(0.1)
        content = str(next(self._numbers)).encode()
        entry = Entry(b"ran", Kind.FILE, 0o644, size=len(content), mtime=1_000_000_000)
        return [Item(entry, lambda: io.BytesIO(content))], []


@pytest.mark.parametrize("exclusive", [False, True], ids=["side by side", "one after another"])
@pytest.mark.parametrize("no_cache", [False, True])
def test_a_step_of_two_stages_is_made_once(tmp_path: Path, exclusive: bool, no_cache: bool) -> None:
    roots = Numbered(tmp_path, exclusive=exclusive)
    built = Engine(tmp_path, roots=roots).build(
        TWICE, memory.EMPTY, images=Base(), runs=True, no_cache=no_cache, network="none"
    )
    assert next(roots.numbers) == 4
    assert sorted(built.found) == ["H", *"MMMM"]
    assert len(built.layers) == 3
