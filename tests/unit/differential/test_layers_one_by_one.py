"""What counts as a difference between the layers of two images whose histories are in other words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from differential.builds import layerwise
from differential.builds.images import Entry, Image, Layer

FOLDER = Entry("directory", 0o755, 0, 0, time=1000)
FILE = Entry("file", 0o644, 0, 0, 1, "aa", time=1000, text=b"a")
BASE: Layer = {"d": FOLDER, "d/f": FILE}
Steps = list[tuple[str, Layer]]


def image(steps: Steps) -> Image:
    told = [("base", BASE), *steps]
    return Image("", {}, {"history": [{"created_by": text} for text, _ in told]}, [layer for _, layer in told], [])


def found(mine: Steps, theirs: Steps, told: Collection[str] = (), left: Collection[str] = ()) -> list[str]:
    return layerwise.differences(image(mine), image(theirs), told, left)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        pytest.param([("RUN x", {"n": FILE})], [("/bin/sh -c x", {"n": FILE})], id="other words"),
        pytest.param([("RUN x", {"n": FILE})], [("x", {"n": replace(FILE, mode=0o100644)})], id="a type in the mode"),
        pytest.param([("RUN x", {"d/f": replace(FILE, time=5)})], [("x", {})], id="a time alone"),
        pytest.param(
            [("WORKDIR /w", {"w": FOLDER}), ("RUN x", {"w/n": FILE})],
            [("nop WORKDIR", {}), ("x", {"w": FOLDER, "w/n": FILE})],
            id="a WORKDIR that is made by the next step",
        ),
        pytest.param([("WORKDIR /w", {"w": FOLDER})], [("x", {"w": FOLDER})], id="a WORKDIR at the end"),
        pytest.param([("RUN x", {"n": FILE})], [("x", {"n": FILE, "run": FOLDER})], id="what is left behind"),
        pytest.param([("RUN x", {})], [("x", {"run": FOLDER})], id="nothing but what is left behind"),
    ],
)
def test_what_has_the_same_effect_is_no_difference(mine: Steps, theirs: Steps) -> None:
    assert found(mine, theirs, left=["run"]) == []


def test_a_path_of_a_layer_that_differs_is_told_once_and_not_where_it_was_told_before() -> None:
    mine: Steps = [("RUN x", {"n": FILE, "m": FILE}), ("RUN y", {"d/.wh.f": FILE})]
    theirs: Steps = [("x", {"n": replace(FILE, uid=5), "m": replace(FILE, mode=0o600)}), ("y", {"k": FILE})]
    assert found(mine, theirs, told=["m"]) == [
        "layer 2: n: file 0644 0:0 aa, buildah file 0644 5:0 aa",
        "layer 3: k: absent, buildah file 0644 0:0 aa",
        "layer 3: d/f: removed by Strata only",
    ]


def test_the_base_counts_as_a_layer_and_further_ones_are_told() -> None:
    assert found([("RUN x", {"n": FILE})], []) == ["layer 2: n: file 0644 0:0 aa, buildah absent"]
