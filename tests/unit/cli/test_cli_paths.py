"""What a file system refuses of a path that was given is told as that, never as a fault of the program."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from strata_builder import cli, contract

LONG = "n" * 300  # no file system has such a name


@pytest.mark.parametrize(
    "words",
    [
        [LONG],
        ["-f", f"{LONG}/Dockerfile", "."],
        [".", "-o", f"type=oci,dest={LONG}/x.tar"],
        [".", "-o", f"type=oci,dest={LONG}"],
        [".", "-o", f"type=oci,dest={LONG},tar=false"],
        [".", "-o", f"type=local,dest={LONG}"],
        [".", "--iidfile", f"{LONG}/id"],
        [".", "--metadata-file", LONG],
        [".", "--build-context", f"other={LONG}"],
        [".", "--build-context", f"other=oci-layout://{LONG}"],
        [".", "--secret", f"id=a,src={LONG}"],
        [".", "--ssh", f"default={LONG}"],
    ],
    ids=lambda words: " ".join(words).replace(LONG, "LONG"),
)
def test_a_name_that_no_file_system_takes(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY --from=other Dockerfile /\n")
    if "--build-context" not in words:
        (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = cli.main(["build", "--isolation=layers", *words])
    said = capsys.readouterr().err
    assert code in (contract.ExitCode.FAILED, contract.ExitCode.USAGE), said
    assert "Traceback" not in said
    assert "error: " in said
    assert LONG in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "type=oci,dest=folder"], "cannot write folder: it is a folder"),
        (["-o", "type=docker,dest=folder"], "cannot write folder: it is a folder"),
        (["-o", "type=tar,dest=folder"], "cannot write folder: it is a folder"),
        (["--iidfile", "folder"], "cannot write folder: it is a folder"),
        (["--metadata-file", "folder"], "cannot write folder: it is a folder"),
        (["-o", "file"], "cannot write into file: it is no folder"),
        (["-o", "type=local,dest=file"], "cannot write into file: it is no folder"),
        (["-o", "type=oci,dest=file,tar=false"], "cannot write into file: it is no folder"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_a_result_for_what_is_there_and_cannot_hold_it_is_refused_before_the_work(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    told = _failed(words, contract.ExitCode.USAGE, tmp_path, monkeypatch, capsys)
    assert said in told
    assert "built" not in told
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["-o", "type=oci,dest=socket"], "socket"),
        (["-o", "type=oci,dest=layout,tar=false"], "oci-layout"),
        (["-o", "type=oci,dest=other,tar=false"], "other/blobs"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_what_a_file_system_refuses_where_a_result_goes_is_no_fault_of_the_program(
    words: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "layout/oci-layout").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/blobs").write_text("")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        told = _failed(words, contract.ExitCode.FAILED, tmp_path, monkeypatch, capsys)
    assert "fault of strata" not in told
    assert named in told


def _failed(
    words: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cli.main(["build", "--isolation=layers", *words, "."]) == code
    return capsys.readouterr().err
