"""What fetch makes of a build's files, where pods have them: in a volume that hands its group on."""

from __future__ import annotations

from pathlib import Path

import pytest

from strata_builder import contract, errors
from strata_builder.pod import inputs
from strata_builder.pod.paths import Paths

BUILD = contract.BuildId("team", "web", "uid", 1, 1, 1, "sha256:0")


def bring(home: Path, source: contract.Source) -> Path:
    """The context that `source` gives."""
    paths = Paths(home)
    paths.inputs.mkdir(parents=True)
    paths.inputs.chmod(0o2777)
    inline = paths.at(contract.DOCKERFILE)
    inline.parent.mkdir(parents=True)
    inline.write_text("FROM scratch\n")
    output = contract.Output("registry", "team/web")
    inputs.bring(contract.BuildRequest(BUILD, output, source=source, dockerfile_inline=True), paths)
    return paths.context


def modes(context: Path) -> dict[str, int]:
    below = [context, *(path for path in context.rglob("*") if path.is_dir())]
    return {str(path.relative_to(context)): path.stat().st_mode & 0o7777 for path in below}


def test_folders_of_a_config_map_have_the_mode_of_any_checkout(tmp_path: Path) -> None:
    files = Paths(tmp_path).at(contract.CONTEXT_FILES)
    files.mkdir(parents=True)
    (files / "key").write_text("x")
    context = bring(tmp_path, contract.Source(files=(("web/deep/file", "key"),)))
    assert modes(context) == {".": 0o755, "web": 0o755, "web/deep": 0o755}


def test_an_empty_context_is_a_folder_like_any(tmp_path: Path) -> None:
    assert modes(bring(tmp_path, contract.Source())) == {".": 0o755}


def read(home: Path, wanted: str, **files: str) -> tuple[str, str]:
    """The name of the Dockerfile that a build of these files finds, and its ignore rules."""
    paths = Paths(home)
    paths.inputs.mkdir(parents=True)
    given = paths.at(contract.CONTEXT_FILES)
    given.mkdir(parents=True)
    for number, text in enumerate(files.values()):
        (given / str(number)).write_text(text)
    source = contract.Source(files=tuple((name, str(number)) for number, name in enumerate(files)))
    output = contract.Output("registry", "team/web")
    brought = inputs.bring(contract.BuildRequest(BUILD, output, source=source, dockerfile_path=wanted), paths)
    return brought.dockerfile, (paths.inputs / inputs.IGNORE).read_text()


@pytest.mark.parametrize(
    ("wanted", "files", "found"),
    [
        ("", {"dockerfile": "", "Dockerfile": ""}, ("Dockerfile", "")),
        ("", {"dockerfile": "", "Dockerfile.dockerignore": "own"}, ("dockerfile", "own")),
        ("", {"dockerfile": "", "dockerfile.dockerignore": "own", ".dockerignore": "all"}, ("dockerfile", "all")),
        ("Dockerfile", {"dockerfile": ""}, ("dockerfile", "")),
        ("sub/Dockerfile", {"sub/dockerfile": "", "sub/Dockerfile.dockerignore": "own"}, ("sub/dockerfile", "own")),
        ("dev", {"dev": "", "dev.dockerignore": "own", ".dockerignore": "all"}, ("dev", "own")),
    ],
)
def test_a_dockerfile_may_be_written_in_small_letters(
    tmp_path: Path, wanted: str, files: dict[str, str], found: tuple[str, str]
) -> None:
    assert read(tmp_path, wanted, **files) == found


def test_a_dockerfile_of_another_name_is_found_as_it_is_written_only(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceNotFound, match="the context has no DEV"):
        read(tmp_path, "DEV", dev="")
