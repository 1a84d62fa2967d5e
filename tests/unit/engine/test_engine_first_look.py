"""A base that nobody has seen before is read once, whatever step comes first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from strata_builder.context.memory import MemoryTree
from strata_builder.engine import blobs, steps
from strata_builder.oci.descriptor import Descriptor
from strata_builder.oci.image import History, Image, LayerRef
from strata_builder.oci.platform import Platform
from support.engine_build import Engine
from support.fake_roots import FakeRoot, FakeRoots
from support.layertrees import file, folder, packed


class Base:
    """An image of one layer, which lies in the blobs of the engine in `folder`."""

    def __init__(self, where: Path) -> None:
        (where / "blobs").mkdir(parents=True)
        made = packed(where / "blob", [folder("etc"), file("etc/passwd", b"app:x:7:8::/:\n")])
        made.blob.rename(where / "blobs" / made.digest.removeprefix("sha256:"))
        self.layer = LayerRef(Descriptor(made.media_type, made.digest, made.size), made.diff_id)

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        image = Image.scratch(platform).append(self.layer, History(created_by="base"))
        return steps.Base(reference, image.digest, image, reference)


class Watched(FakeRoots):
    """Notes what is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.shown: list[list[str]] = []

    def open(self) -> FakeRoot:
        return _Root(self.shown)


class _Root(FakeRoot):
    def __init__(self, shown: list[list[str]]) -> None:
        self._shown = shown

    def sync(self, layers: Sequence[LayerRef], *, fresh: Collection[str] = ()) -> None:
        self._shown.append([layer.descriptor.digest for layer in layers])


@pytest.mark.parametrize(
    ("lines", "calls"),
    [("COPY a /\nRUN x\n", 2), ("WORKDIR /w\nRUN x\n", 2), ("RUN x\nCOPY a /\n", 1), ("COPY a /\n", 0)],
)
def test_where_a_step_will_run_the_base_is_unpacked_before_the_first_one(
    tmp_path: Path, lines: str, calls: int
) -> None:
    base, roots = Base(tmp_path), Watched(tmp_path)
    engine = Engine(tmp_path, roots=roots)
    engine.build(f"FROM base\n{lines}", MemoryTree({b"a": b"a"}), images=base, runs=True)
    assert len(roots.shown) == calls
    assert all(shown[0] == base.layer.descriptor.digest for shown in roots.shown)


def test_a_stage_whose_steps_are_all_known_unpacks_nothing(tmp_path: Path) -> None:
    base, roots = Base(tmp_path), Watched(tmp_path)
    engine = Engine(tmp_path, roots=roots)
    lines = "FROM base\nCOPY a /\nRUN x\nCOPY b /\n"
    engine.build(lines, MemoryTree({b"a": b"a", b"b": b"b"}), images=base, runs=True)
    roots.shown.clear()
    engine.build(lines, MemoryTree({b"a": b"a", b"b": b"c"}), images=base, runs=True)
    assert roots.shown == []


def test_files_of_another_stage_come_out_of_their_layer_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    open_ = blobs.Blobs.open
    monkeypatch.setattr(blobs.Blobs, "open", lambda store, layer: opened.append(layer.diff_id) or open_(store, layer))
    context = MemoryTree({b"d/%d" % number: b"%d" % number for number in range(40)})
    lines = "FROM scratch AS made\nCOPY d /d\nFROM scratch\nCOPY --from=made /d /e\n"
    built = Engine(tmp_path).build(lines, context)
    assert len(built.texts()) == 41
    assert len(opened) == 1
