"""What counts as a difference between two images, and what by rule does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from differential.builds import compare, explained, history
from differential.builds.images import Entry, Image, Layer

EPOCH = 1000
FOLDER = Entry("directory", 0o755, 0, 0, time=EPOCH)
FILE = Entry("file", 0o644, 0, 0, 1, "aa", time=EPOCH, text=b"a")
BASE: Layer = {"d": FOLDER, "d/f": FILE, "d/s": FOLDER, "d/s/g": FILE, "e": FILE}


def image(*steps: tuple[str, Layer | None], config: dict[str, Any] | None = None) -> Image:
    told = [("base", BASE), *steps]
    items = [{"created_by": text, **({} if layer is not None else {"empty_layer": True})} for text, layer in told]
    return Image("", {}, {"config": config or {}, "history": items}, [la for _, la in told if la is not None], [])


def found(mine: Layer | None, theirs: Layer | None, text: str = "RUN x") -> list[str]:
    return compare.differences(image((text, mine)), image((f"{text} # buildkit", theirs)), EPOCH)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        pytest.param({"n": FILE}, {"n": FILE}, id="equal layers"),
        pytest.param({"d": FOLDER, "d/n": FILE}, {"d/n": FILE}, id="a parent that is carried"),
        pytest.param({}, {"d": replace(FOLDER, time=5)}, id="a directory's time"),
        pytest.param(None, {}, id="no layer and an empty one"),
        pytest.param({"e": FILE}, {}, id="a file that restates the one below"),
        pytest.param({"d/.wh.f": FILE, "d/.wh.s": FILE}, {"d/.wh..wh..opq": FILE}, id="whiteouts and an opaque marker"),
        pytest.param({".wh.d": FILE}, {".wh.d": FILE, "d/.wh.f": FILE}, id="a whiteout below a whiteout"),
        pytest.param({"d": FILE}, {".wh.d": FILE, "d": FILE}, id="a file where a directory was"),
    ],
)
def test_what_has_the_same_effect_is_no_difference(mine: Layer | None, theirs: Layer | None) -> None:
    assert found(mine, theirs) == []


@pytest.mark.parametrize(
    ("mine", "theirs", "line"),
    [
        ({"n": FILE}, {}, "step 2: n: only Strata has it: file 0644 0:0"),
        (None, {"n": FILE}, "step 2: n: only BuildKit has it: file 0644 0:0"),
        ({"n": replace(FILE, mode=0o600)}, {"n": FILE}, "step 2: n: mode 0600, BuildKit 0644"),
        ({"n": replace(FILE, uid=5)}, {"n": FILE}, "step 2: n: uid 5, BuildKit 0"),
        ({"n": replace(FILE, content="bb", text=b"b")}, {"n": FILE}, "step 2: n: content b'b', BuildKit b'a'"),
        ({"n": replace(FILE, time=5)}, {"n": FILE}, "step 2: n: time 5, BuildKit 1000"),
        ({"n": replace(FILE, xattrs={"a": b"b"})}, {"n": FILE}, "step 2: n: xattrs {'a': b'b'}, BuildKit {}"),
        ({"d": replace(FOLDER, mode=0o700)}, {}, "step 2: d: only Strata has it: directory 0700 0:0"),
        ({".wh.e": FILE}, {}, "step 2: e: removed by Strata only"),
        ({}, {"d/.wh.s": FILE}, "step 2: d/s: removed by BuildKit only"),
        ({".wh.none": FILE}, {}, "step 2: .wh.none: whiteout of what is not there"),
        ({"d/s/.wh..wh..opq": FILE}, {"d/.wh.s": FILE, "d/s": FOLDER}, None),
    ],
)
def test_what_differs_is_told_once(mine: Layer | None, theirs: Layer | None, line: str | None) -> None:
    assert found(mine, theirs) == ([line] if line else [])


def test_a_context_file_has_the_builds_time_and_none_other() -> None:
    old = {"n": replace(FILE, time=5)}
    assert found({"n": FILE}, old, "COPY n /n") == []
    assert found({"n": FILE}, old, "RUN x") == ["step 2: n: time 1000, BuildKit 5"]
    assert found({"n": replace(FILE, time=7)}, old, "COPY n /n") == ["step 2: n: time 7, BuildKit 5"]


def test_faults_of_an_image_come_before_all() -> None:
    broken = replace(image(("RUN x", {"n": FILE})), faults=["n is twice in one layer"])
    assert compare.differences(broken, image(), EPOCH) == ["image: n is twice in one layer"]


def test_steps_that_only_one_tells_of_are_named_save_declarations() -> None:
    mine, theirs = image(("ONBUILD RUN x", None)), image(("ARG A=1 # buildkit", None), ("ENV A=1 # buildkit", None))
    assert compare.differences(mine, theirs, EPOCH) == ["step 2: only BuildKit has it: ENV A=1"]


def test_configs_are_equal_whatever_is_empty_and_told_by_field() -> None:
    mine = image(config={"Env": ["A=1"], "Volumes": {"/v": {}}, "Labels": None})
    theirs = image(config={"Env": ["A=1"], "Volumes": {"/w": {}}, "Cmd": [], "ArgsEscaped": True})
    assert compare.differences(mine, theirs, EPOCH) == [
        "config: config.Volumes./v {}, BuildKit absent",
        "config: config.Volumes./w absent, BuildKit {}",
    ]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('CMD ["a" "b"]', "CMD"),
        ("COPY --from=a --chown=1:2 --link /f /g # buildkit", "COPY --chown=1:2 /f /g"),
        ("WORKDIR /a/", "WORKDIR /a"),
        ("FROM lib", "FROM"),
        ("RUN /bin/sh -c echo # buildkit", "RUN /bin/sh -c echo"),
    ],
)
def test_a_history_entry_means_the_same_in_each_builders_words(text: str, meaning: str) -> None:
    assert history.meaning(text) == meaning


ROW = {"case": "a", "kind": "fault", "why": "so", "differences": ["x"]}


def test_an_explanation_holds_for_exactly_its_differences() -> None:
    table = explained.parse({"explained": [ROW]})
    assert explained.verdict(["x"], table["a"]) == ""
    assert explained.verdict(["x", "y"], table["a"]) == "not explained: y"
    assert explained.verdict([], table["a"]) == "explained, but no longer so: x"
    assert explained.verdict([], None) == ""


@pytest.mark.parametrize(
    "rows", [[ROW, ROW], [{**ROW, "kind": "known"}], [{**ROW, "why": ""}], [{**ROW, "differences": []}]]
)
def test_a_table_with_a_bad_row_is_refused(rows: list[dict[str, object]]) -> None:
    with pytest.raises(ValueError, match="a"):
        explained.parse({"explained": rows})


def test_what_the_exporter_adds_tells_of_the_lowest_layers() -> None:
    items = [{"created_by": "COPY a /"}, {"created_by": "USER x", "empty_layer": True}]
    added = {"created_by": "[1/1] COPY a /", "comment": history.EXPORTER}
    assert [item["created_by"] for item in history.in_order([*items, added])] == ["FROM", "COPY a /", "USER x"]
    mine = Image("", {}, {"history": [{"created_by": "FROM lib"}, *items]}, [BASE, {"n": FILE}], [])
    theirs = Image("", {}, {"history": [*items, added]}, [BASE, {"n": FILE}], [])
    assert compare.differences(mine, theirs, EPOCH) == []
