"""What is looked at before a build of another user than root is begun: only what can be read a second time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strata_builder.cli import arguments, namespaces


@pytest.mark.parametrize(
    ("words", "dockerfile"),
    [
        (["--secret", "id=a,src=/dev/fd/{}"], "FROM scratch\nCOPY Dockerfile /\n"),
        (["--secret", "id=/dev/fd/{}"], "FROM scratch\nCOPY Dockerfile /\n"),
        (["-f", "/dev/fd/{}"], ""),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_what_comes_through_a_pipe_is_left_for_the_build(
    words: list[str], dockerfile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `--secret id=a,src=<(pass show a)`: whoever reads it first has had it."""
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "Dockerfile").write_text(dockerfile)
    end, begin = os.pipe()
    os.write(begin, b"FROM scratch\n")
    os.close(begin)
    try:
        given = arguments.parse(["build", *(word.format(end) for word in words), str(tmp_path)])
        assert namespaces._needs_sandbox(given)
        assert os.read(end, 100) == b"FROM scratch\n"
    finally:
        os.close(end)


@pytest.mark.parametrize("secret", ["id=a,src={}/Dockerfile", "id=HOME", "id=a,env=HOME"])
def test_a_build_of_plain_files_without_a_run_needs_no_namespace(
    secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    given = arguments.parse(["build", "--secret", secret.format(tmp_path), str(tmp_path)])
    assert not namespaces._needs_sandbox(given)
