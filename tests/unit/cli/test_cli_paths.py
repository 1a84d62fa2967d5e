"""What a file system refuses of a path that was given is told as that, never as a fault of the program."""

from __future__ import annotations

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
