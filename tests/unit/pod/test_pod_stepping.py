"""Steps told as they end, and taken down once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strata_builder import dockerfile as df
from strata_builder.context import memory
from strata_builder.engine import keys, planner, records, report, steps
from strata_builder.engine.options import Options
from strata_builder.oci.image import Descriptor, LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.pod import alive, stepping, wire

AMD64 = Platform.parse("linux/amd64")
D = "sha256:" + "1" * 64
LAYER = LayerRef(Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", D, 10), D)


def planned(text: str) -> tuple[steps.Plan, keys.Keyed]:
    options = Options(memory.EMPTY, AMD64, AMD64)
    plan = planner.make(df.parse(text.encode()), options, None)  # type: ignore[arg-type]
    return plan, keys.of_plan(plan, options, None)  # type: ignore[arg-type]


def pair(tmp_path: Path, text: str) -> tuple[stepping.Stepping, stepping.Heard, keys.Keyed]:
    plan, keyed = planned(text)
    told, acks = tmp_path / "told", tmp_path / "acks"
    told_by = stepping.Stepping(report.Quiet(), plan, keyed, told, acks, [])
    return told_by, stepping.Heard(told, acks, frozenset(keyed.steps.values())), keyed


def test_a_step_is_told_with_its_layer_and_taken_down(tmp_path: Path) -> None:
    told_by, heard, keyed = pair(tmp_path, "FROM scratch\nRUN one\nRUN two\n")
    told_by.started("[1/2]", "RUN one")
    told_by.packed(LAYER)
    told_by.ended("[1/2]", cached=False, seconds=1.0, size=10)
    told_by.started("[2/2]", "RUN two")
    told_by.ended("[2/2]", cached=False, seconds=1.0, size=0)
    heard.look()
    told_by.wait()
    assert heard.made == {keyed.steps[0, 0]: records.Record(LAYER), keyed.steps[0, 1]: records.Record(None)}


def test_what_is_written_again_is_not_heard(tmp_path: Path) -> None:
    told_by, heard, keyed = pair(tmp_path, "FROM scratch\nRUN one\n")
    told_by.packed(LAYER)
    told_by.ended("[1/1]", cached=False, seconds=1.0, size=10)
    heard.look()
    (tmp_path / "told" / keyed.steps[0, 0]).write_bytes(b"{}")
    heard.look()
    assert heard.made == {keyed.steps[0, 0]: records.Record(LAYER)}


def test_a_label_of_two_steps_is_only_told_at_the_end(tmp_path: Path) -> None:
    told_by, heard, _ = pair(tmp_path, "FROM scratch AS a\nRUN one\nFROM a AS A\nRUN two\n")
    told_by.started("[a 1/1]", "RUN one")
    told_by.ended("[a 1/1]", cached=False, seconds=1.0, size=0)
    heard.look()
    assert len(heard.made) <= 1


@pytest.mark.parametrize("data", [b"{}", b"[]", b"x" * 5000, b'{"key":"KEY","layer":{"digest":"x"}}'])
def test_what_is_no_step_of_the_plan_is_refused(tmp_path: Path, data: bytes) -> None:
    _, heard, keyed = pair(tmp_path, "FROM scratch\nRUN one\n")
    key = keyed.steps[0, 0]
    (tmp_path / "told" / key).write_bytes(data.replace(b"KEY", key.encode()))
    with pytest.raises((wire.WireError, alive.PeerLost)):
        heard.look()
    assert os.listdir(tmp_path / "acks") == []


def test_a_step_under_another_name_is_refused(tmp_path: Path) -> None:
    told_by, heard, keyed = pair(tmp_path, "FROM scratch\nRUN one\nRUN two\n")
    told_by.ended("[1/2]", cached=True, seconds=0.0, size=0)
    (tmp_path / "told" / keyed.steps[0, 0]).write_text(f'{{"key":"{keyed.steps[0, 1]}","layer":null}}')
    with pytest.raises(wire.WireError, match="under another name"):
        heard.look()
