"""plan.json and result.json: what goes out comes back, and what a hostile container writes is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from strata_builder import contract
from strata_builder.engine import records, steps
from strata_builder.oci.image import Descriptor, History, Image, LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.pod import planfile, wire

D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
K1, K2 = "a" * 64, "b" * 64
LAYER = LayerRef(Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", D1, 10), D2)
AMD64 = Platform.parse("linux/amd64")


def base() -> steps.Base:
    image = Image.scratch(AMD64).append(LAYER, History(created="2024-01-01T00:00:00Z", created_by="x"))
    return steps.Base("busybox:1", D2, image, "registry:5000/busybox")


def plan() -> planfile.PlanFile:
    return planfile.PlanFile(
        source=contract.SourceResult("main", "c" * 40, "Fix", "Ada", 5),
        dockerfile="Dockerfile",
        bases=(planfile.Base.of("linux/amd64", base()),),
        stages=((0, K1),),
        steps=((0, 1, K1), (0, 2, K2)),
        missing=((0, 2),),
        secrets=("token",),
        fetched=1.5,
        pulled=100,
    )


def test_a_plan_comes_back_as_it_was() -> None:
    again = planfile.PlanFile.from_bytes(plan().to_bytes())
    assert again == plan()
    assert again.bases[0].resolved() == base()
    assert again.keyed().steps == {(0, 1): K1, (0, 2): K2}


def result() -> planfile.Result:
    made = {K1: records.Record(LAYER), K2: records.Record(None)}
    return planfile.Result.of(made, (contract.Step(3, "RUN x", False, "", 1.0, 10),), 2.0, 1 << 20)


def test_a_result_comes_back_as_it_was() -> None:
    again = planfile.Result.from_bytes(result().to_bytes(), frozenset({K1, K2}))
    assert again == result()
    assert again.records() == {K1: records.Record(LAYER), K2: records.Record(None)}


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(result().to_bytes()), **fields}).encode()


LAYER_JSON = {"media_type": LAYER.descriptor.media_type, "digest": D1, "size": 10, "diff_id": D2}


def made(**fields: Any) -> list[dict[str, Any]]:
    return [{"key": K1, "layer": {**LAYER_JSON, **fields}}]


HOSTILE = {
    "no JSON": b"{",
    "not an object": b"[]",
    "a key twice": b'{"made":[],"made":[],"steps":[],"seconds":0,"peak":0}',
    "an unknown field": changed(evil=1),
    "a missing field": b'{"made":[]}',
    "a step that the plan does not have": changed(made=[{"key": "c" * 64, "layer": None}]),
    "one step twice": changed(made=[{"key": K1, "layer": None}] * 2),
    "a digest that is none": changed(made=made(digest="sha256:../../etc/passwd")),
    "a diffID that is none": changed(made=made(diff_id="x")),
    "a negative size": changed(made=made(size=-1)),
    "a boolean for a number": changed(made=made(size=True)),
    "a foreign media type": changed(made=made(media_type="application/vnd.oci.image.manifest.v1+json")),
    "an infinite time": changed(seconds=1e999),
    "a negative time": changed(seconds=-1.0),
    "a huge number": changed(peak=1 << 70),
    "too many rows": changed(steps=json.loads(result().to_bytes())["steps"] * (planfile.MAX_STEPS + 1)),
    "a row of another form": changed(steps=[{"line": "3"}]),
    "deep nesting": b'{"made":' + b"[" * 100 + b"]" * 100 + b"}",
    "too large": b" " * (planfile.MAX_RESULT + 1),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_result_is_refused(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        planfile.Result.from_bytes(data, frozenset({K1, K2}))
