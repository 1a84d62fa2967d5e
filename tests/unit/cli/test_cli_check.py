"""`strata check` and the warnings of `strata build`."""

from __future__ import annotations

import pathlib

import pytest

from strata_builder import cli, contract


@pytest.fixture
def context(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "context"
    folder.mkdir()
    return folder


def test_a_warning_has_its_rule_place_line_and_explanation(
    context: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (context / "Dockerfile").write_text("FROM debian AS base\nCOPY gone.txt /\nFROM scratch\nCMD  run it\n")
    (context / ".dockerignore").write_text("*.txt\n")
    assert cli.main(["check", str(context)]) == contract.ExitCode.FAILED
    assert capsys.readouterr().out == (
        'Dockerfile:2: warning: Attempting to Copy file "gone.txt" that is excluded by .dockerignore (CopyIgnoredFile)\n'
        "  2 | COPY gone.txt /\n"
        "    | ^\n"
        "hint: see https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/\n"
        "Dockerfile:4: warning: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals"
        " (JSONArgsRecommended)\n"
        "  4 | CMD  run it\n"
        "    | ^\n"
        "hint: see https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"
        "Dockerfile: no error, 2 warnings in 2 stages, 2 instructions\n"
    )


def test_warnings_come_before_an_error(context: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCMD x\nEXPOSE none\n")
    assert cli.main(["check", str(context)]) == contract.ExitCode.FAILED
    said = capsys.readouterr()
    assert "JSONArgsRecommended" in said.out
    assert "Dockerfile:3: EXPOSE none: 'none' is no port" in said.err


def test_nothing_wrong_is_said_in_one_line(context: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text('FROM debian\nCMD ["x", "$HOME"]\n')
    assert cli.main(["check", str(context)]) == contract.ExitCode.OK
    assert capsys.readouterr().out == "Dockerfile: no error found in 1 stage, 1 instruction\n"


def test_a_build_tells_warnings_and_goes_on(context: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nENV a b\n")
    assert cli.main(["build", "-o", "type=oci,dest=/dev/null", str(context)]) == contract.ExitCode.OK
    assert "LegacyKeyValueFormat" in capsys.readouterr().err


def test_a_build_ends_at_a_warning_where_the_file_says_so(
    context: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (context / "Dockerfile").write_text("# check=error=true\nFROM scratch\nENV a b\n")
    assert cli.main(["build", "-o", "type=oci,dest=/dev/null", str(context)]) == contract.ExitCode.FAILED
    assert "Dockerfile:3: 1 warning, and check=error=true makes errors of them" in capsys.readouterr().err
