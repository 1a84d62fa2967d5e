"""The time that an image says it was made at: its build's, or its base's where it adds nothing to that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from strata_builder.context import memory
from support import dockerfile_plans, engine_build

YEAR_2001, YEAR_2020, NEVER = "2001-09-09T01:46:40Z", "2020-09-13T12:26:40Z", "2000-01-01T00:00:00Z"


def created(folder: Path, dockerfile: str, base: str | None, epoch: int | None = None, history: object = None) -> str:
    said: dict[str, object] = {"created": base} if base is not None else {}
    said |= {"history": history} if history else {}
    rootfs = {"type": "layers", "diff_ids": []}
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": rootfs} | said)
    images = dockerfile_plans.Images({"docker.io/library/base:latest": config})
    made = engine_build.Engine(folder).build(
        dockerfile, memory.MemoryTree({}), images=images, source_date_epoch=epoch, created=None
    )
    return str(made.image.config.created)


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM base\n",
        "ARG N=base\nFROM $N\nARG X\n",
        "FROM base AS one\nFROM one\n",
        "FROM base\nLABEL a=b\nFROM base\n",
        "FROM base\nONBUILD ENV a=b\n",
    ],
)
@pytest.mark.parametrize(
    ("base", "epoch", "expected"),
    [
        (YEAR_2020, None, YEAR_2020),
        ("2020-09-13T14:26:40.123456789+02:00", None, "2020-09-13T14:26:40.123456789+02:00"),
        (YEAR_2001, 1_600_000_000, YEAR_2001),
        (YEAR_2020, 1_000_000_000, YEAR_2020),
        (YEAR_2020, 1_600_000_000, YEAR_2020),
        (None, None, NEVER),
        (None, 1_600_000_000, YEAR_2020),
        ("yesterday", None, NEVER),
        ("2020-09-13T12:26:40", None, NEVER),
        ("0001-01-01T00:00:00Z", 0, "0001-01-01T00:00:00Z"),
    ],
)
def test_an_image_that_adds_nothing_is_as_old_as_its_base(
    tmp_path: Path, dockerfile: str, base: str | None, epoch: int | None, expected: str
) -> None:
    assert created(tmp_path, dockerfile, base, epoch) == expected


@pytest.mark.parametrize("dockerfile", ["FROM base\nENV a=b\n", "FROM base AS one\nLABEL a=b\nFROM one\n"])
@pytest.mark.parametrize(("epoch", "expected"), [(None, NEVER), (1_600_000_000, YEAR_2020)])
def test_an_image_that_adds_anything_is_of_the_time_of_its_build(
    tmp_path: Path, dockerfile: str, epoch: int | None, expected: str
) -> None:
    assert created(tmp_path, dockerfile, "2010-01-01T00:00:00Z", epoch) == expected


def test_a_base_is_as_old_as_its_last_step(tmp_path: Path) -> None:
    steps = [{"created": YEAR_2020}, {"created": YEAR_2001}, {"created_by": "a step", "empty_layer": True}]
    assert created(tmp_path, "FROM base\n", None, history=[step | {"empty_layer": True} for step in steps]) == YEAR_2001
    assert created(tmp_path, "FROM base\n", YEAR_2020, history=[{"empty_layer": True, **steps[1]}]) == YEAR_2001
    assert created(tmp_path, "FROM base\n", YEAR_2020, history=[{"empty_layer": True}]) == YEAR_2020
