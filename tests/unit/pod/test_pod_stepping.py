"""Steps told as they end, and taken down once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strata_builder import dockerfile as df
from strata_builder.context import memory
from strata_builder.engine import keys, planner, records, steps
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
    _, keyed = planned(text)
    told, acks = tmp_path / "told", tmp_path / "acks"
    told_by = stepping.Stepping(keyed, told, acks, [])
    return told_by, stepping.Heard(told, acks, frozenset(keyed.steps.values())), keyed


def test_a_step_is_told_with_its_layer_and_taken_down(tmp_path: Path) -> None:
    told_by, heard, keyed = pair(tmp_path, "FROM scratch\nRUN one\nRUN two\n")
    told_by.made(0, 0, records.Record(LAYER))
    told_by.made(0, 1, records.Record(None))
    heard.look()
    told_by.wait()
    assert heard.made == {keyed.steps[0, 0]: records.Record(LAYER), keyed.steps[0, 1]: records.Record(None)}


def test_what_is_written_again_is_not_heard(tmp_path: Path) -> None:
    told_by, heard, keyed = pair(tmp_path, "FROM scratch\nRUN one\n")
    told_by.made(0, 0, records.Record(LAYER))
    heard.look()
    (tmp_path / "told" / keyed.steps[0, 0]).write_bytes(b"{}")
    heard.look()
    assert heard.made == {keyed.steps[0, 0]: records.Record(LAYER)}


def test_steps_of_stages_whose_names_differ_in_case_are_told_apart(tmp_path: Path) -> None:
    told_by, heard, keyed = pair(tmp_path, "FROM scratch AS a\nRUN one\nFROM a AS A\nRUN two\n")
    told_by.made(0, 0, records.Record(None))
    told_by.made(1, 0, records.Record(LAYER))
    heard.look()
    assert heard.made == {keyed.steps[0, 0]: records.Record(None), keyed.steps[1, 0]: records.Record(LAYER)}


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
    told_by.made(0, 1, records.Record(None))
    (tmp_path / "told" / keyed.steps[0, 0]).write_text(f'{{"key":"{keyed.steps[0, 1]}","layer":null}}')
    with pytest.raises(wire.WireError, match="under another name"):
        heard.look()
