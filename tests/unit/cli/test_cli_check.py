"""`strata check` and the warnings of `strata build`."""

from __future__ import annotations

import pathlib

import pytest

from strata_builder import cli, contract
from support.git_server import HttpServer, Repository


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


def test_a_build_tells_each_warning_once_at_its_end(context: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nENV a b\nCOPY Dockerfile /\n")
    platforms = ["--platform", "linux/amd64,linux/arm64"]
    assert cli.main(["build", *platforms, "-o", "type=oci,dest=/dev/null", str(context)]) == contract.ExitCode.OK
    *steps, first, second, caret, third, built = capsys.readouterr().err.splitlines()
    assert steps[-1].startswith("[")
    assert first == (
        'Dockerfile:2: warning: "ENV key=value" should be used instead of legacy "ENV key value" format '
        "(LegacyKeyValueFormat)"
    )
    assert (second, caret, third) == (
        "  2 | ENV a b",
        "    | ^",
        "hint: see https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/",
    )
    assert built.startswith("built sha256:")


def test_a_build_that_fails_tells_its_warnings_before_the_error(
    context: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nENV a b\nCOPY --chmod=u+q Dockerfile /\n")
    assert cli.main(["build", "-o", "type=oci,dest=/dev/null", str(context)]) == contract.ExitCode.FAILED
    said = capsys.readouterr().err
    assert 0 < said.index("LegacyKeyValueFormat") < said.index("error: ")


@pytest.mark.parametrize("given", ["directive", "argument"])
def test_a_build_ends_at_a_warning_where_that_is_asked_for(
    context: pathlib.Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    text = "FROM scratch\nENV a b\nENV c d\nCMD x\n"
    (context / "Dockerfile").write_text(text if given == "argument" else f"# check=error=true\n{text}")
    flags = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true"] if given == "argument" else []
    assert cli.main(["build", *flags, "-o", "type=oci,dest=/dev/null", str(context)]) == contract.ExitCode.FAILED
    first = 2 if given == "argument" else 3
    lint, *shown = capsys.readouterr().err.splitlines()
    assert lint == (
        f'error: Dockerfile:{first}: "ENV key=value" should be used instead of legacy "ENV key value" format '
        "(LegacyKeyValueFormat); check=error=true makes an error of it, and of "
        f"LegacyKeyValueFormat in line {first + 1}, JSONArgsRecommended in line {first + 2}"
    )
    hint = (
        "hint: mend it, or skip the rule: # check=skip=LegacyKeyValueFormat,JSONArgsRecommended;error=true; "
        "see https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/"
    )
    assert shown == [f"  {first} | ENV a b", "    | ^", hint]


def test_a_skipped_rule_is_neither_told_nor_an_error(context: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("# check=skip=LegacyKeyValueFormat;error=true\nFROM scratch\nENV a b\n")
    assert cli.main(["build", "-o", "type=oci,dest=/dev/null", str(context)]) == contract.ExitCode.OK
    assert "Legacy" not in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check"], ["build", "--check"], ["plan"]], ids=" ".join)
def test_a_private_repository_is_read_with_the_secret_by_what_builds_nothing_too(
    command: list[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "cache"))
    repository = Repository.make(tmp_path / "served")
    repository.commit({"Dockerfile": "FROM scratch\nCOPY --from=other Dockerfile /\n"})
    (tmp_path / "secret").write_text("tok")
    with HttpServer(repository.bare.parent, user="x-access-token", password="tok") as server:
        url, secret = f"{server.url}/app.git", f"id=GIT_AUTH_TOKEN,src={tmp_path}/secret"
        named = ["--build-context", f"other={url}"]
        assert cli.main([*command, *named, "--secret", secret, url]) == contract.ExitCode.OK, capsys.readouterr().err
        assert cli.main([*command, *named, url]) == contract.ExitCode.FAILED


def test_a_secret_that_is_not_at_hand_is_missed_by_what_builds_alone(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    assert cli.main(["check", "--secret", "id=a,src=/none", str(tmp_path)]) == contract.ExitCode.OK
