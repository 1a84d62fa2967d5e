"""What fetch makes of a build's files, where pods have them: in a volume that hands its group on."""

from __future__ import annotations

from pathlib import Path

from strata_builder import contract
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
