"""Which stages run, how they are named, and what passes from one to the next."""

from __future__ import annotations

import pytest

from support.strata_build import Builder

pytestmark = pytest.mark.root


def test_only_needed_stages_run_and_names_ignore_case(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase AS unused\nRUN exit 1\nFROM scratch AS One\nCOPY f /f\n"
        "FROM scratch\nCOPY --from=one /f /a\nCOPY --from=1 /f /b\n",
        {"f": "f"},
    )
    assert image.listed() == ["f 0644 0:0 a", "f 0644 0:0 b"]


def test_of_two_stages_of_one_name_the_later_is_meant(builder: Builder) -> None:
    image = builder.make("FROM scratch AS a\nENV N=1\nFROM scratch AS a\nENV N=2\nFROM a\nENV M=$N\n")
    assert image.env["M"] == "2"


def test_target_stops_at_an_earlier_stage(builder: Builder) -> None:
    image = builder.make("FROM testbase AS a\nRUN touch /x\nFROM a\nRUN exit 1\n", {}, "--target", "a")
    assert image.listed() == ["f 0644 0:0 x"]


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("FROM scratch\nFROM scratch\nCOPY --from=5 /f /f\n", 3),
        ("FROM scratch AS a\nCOPY --from=a /f /f\n", 2),
        ("FROM $UNSET\n", 1),
        ("FROM scratch AS 1a\n", 1),
        ("FROM scratch\nONBUILD FROM x\n", 2),
        ("FROM scratch\nONBUILD ONBUILD RUN x\n", 2),
    ],
)
def test_a_stage_that_cannot_be_meant_is_an_error_with_its_line(builder: Builder, lines: str, line: int) -> None:
    assert f"Dockerfile:{line}" in builder.fault(lines)


def test_a_stage_defined_further_down_is_an_error_that_says_so(builder: Builder) -> None:
    fault = builder.fault("FROM scratch AS a\nCOPY --from=later /f /f\nFROM scratch AS later\nFROM a\n")
    assert "Dockerfile:2" in fault
    assert "needs to be defined before" in fault


ONBUILD = (
    "FROM testbase AS a\nONBUILD ARG Q=7\nONBUILD ENV QQ=$Q\nONBUILD RUN echo x >> /cnt\n"
    "FROM a AS b\nFROM b AS c\nRUN cat /cnt > /res\nFROM a AS d\nRUN cat /cnt > /res\n"
)


@pytest.mark.parametrize("target", ["c", "d"])
def test_triggers_fire_once_in_each_child_and_not_in_grandchildren(builder: Builder, target: str) -> None:
    image = builder.make(ONBUILD, {}, "--target", target)
    assert (image.read("res"), image.env["QQ"]) == ("x\n", "7")
    assert not image.config["config"].get("OnBuild")


def test_the_parent_lists_its_triggers_and_runs_none(builder: Builder) -> None:
    image = builder.make(ONBUILD, {}, "--target", "a")
    assert image.config["config"]["OnBuild"] == ["ARG Q=7", "ENV QQ=$Q", "RUN echo x >> /cnt"]
    assert image.listed() == []


def test_links_inside_another_stage_are_resolved_inside_it(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase AS a\n"
        "RUN mkdir -p /data/v1 && echo v1 > /data/v1/f && ln -s /data/v1 /cur && ln -s /data/v1/f /abs\n"
        "FROM scratch\nCOPY --from=a /cur/f /o1\nCOPY --from=a /abs /o2\nCOPY --from=a /cur /o3\n"
    )
    assert image.listed() == ["f 0644 0:0 o1", "f 0644 0:0 o2", "d 0755 0:0 o3", "f 0644 0:0 o3/f"]
    assert {image.read(path) for path in ("o1", "o2", "o3/f")} == {"v1\n"}
