"""What `strata check` warns of: the table of tests/golden/checks."""

from __future__ import annotations

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors, lint
from strata_builder.context import memory
from strata_builder.engine.options import Options
from strata_builder.lint import names
from strata_builder.oci.platform import Platform
from support import dockerfile_check_table, dockerfile_checks, dockerfile_plans

CASES = dockerfile_check_table.cases()
AMD64 = Platform.parse("linux/amd64")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_dockerfile_gets_the_warnings_of_its_row(case: dockerfile_check_table.Case) -> None:
    found, error = dockerfile_checks.ours(case.source, ignore=case.ignore)
    assert error == ""
    assert dockerfile_check_table.shown(found) == [line for line in case.warnings if line]


def _check(source: str, **given: object) -> lint.Report:
    options = Options(memory.MemoryTree({}), AMD64, AMD64, **given)  # type: ignore[arg-type]
    return lint.check(df.parse(source.encode()), options, dockerfile_plans.Images({}))


def test_warnings_before_an_error_are_told_with_it() -> None:
    report = _check("FROM scratch AS A\nCMD x\nSTOPSIGNAL no\n")
    assert [warning.rule for warning in report.warnings] == ["StageNameCasing", "JSONArgsRecommended"]
    assert report.error is not None
    assert str(report.error.place) == "Dockerfile:3"


def test_only_the_stages_of_a_target_are_checked() -> None:
    source = "FROM scratch AS a\nCMD x\nFROM scratch AS b\nCMD y\n"
    assert [warning.start for warning in _check(source, target="a").warnings] == [2]


def test_the_build_argument_replaces_the_directive() -> None:
    source = "# check=skip=all\nFROM scratch\nCMD x\n"
    report = _check(source, build_args={"BUILDKIT_DOCKERFILE_CHECK": "error=true"})
    assert report.settings.error
    assert [warning.rule for warning in report.warnings] == ["JSONArgsRecommended"]


@pytest.mark.parametrize("value", ["skip", "error=perhaps", "skip=a;bad=b", "=x"])
def test_a_check_directive_that_cannot_be_read_is_an_error_with_its_place(value: str) -> None:
    with pytest.raises(errors.DockerfileError) as caught:
        _check(f"# check={value}\nFROM scratch\n")
    assert str(caught.value.place) == "Dockerfile:1"


def test_a_base_that_cannot_be_looked_at_leaves_variables_undecided() -> None:
    file = df.parse(b"FROM testbase AS a\nENV X=$Y\nCMD x\nFROM a\nENV X=$Z\n")
    options = Options(memory.MemoryTree({}), AMD64, AMD64)
    images = dockerfile_plans.Images({"docker.io/library/testbase:latest": '{"os": "linux", "architecture": "amd64"}'})
    assert len(lint.check(file, options, images).warnings) == 3
    assert lint.check(file, options, images, unknown={"testbase": "no network"}).warnings == ()


def test_a_long_name_gets_no_slow_suggestion() -> None:
    assert names.suggestion("A" * 100_000, ["A" * 99_999]) == ""
    assert names.suggestion("PTAH", ["X", "PATH", "PTAHX"]) == "PTAHX"


def test_each_rule_says_where_it_is_explained() -> None:
    (warning,) = _check("FROM scratch\nCMD x\n").warnings
    assert warning.url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
