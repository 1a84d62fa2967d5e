"""The files of an image in a folder or a tar: what the image shows, beside what was there before."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from strata_builder import cli, contract
from strata_builder.oci import image, layout, platform
from support.layertrees import file, folder, hard, packed

Build = Callable[..., None]

LAYERS = (
    (
        [file("keep", b"base"), folder("d"), file("d/x"), folder("e"), file("e/x"), file("a", b"both"), hard("b", "a")],
        [],
    ),
    ([folder("d"), file("d/y", b"y"), file("f", b"new")], [b"keep", b"d", b"e"]),
)
SHOWN = {"a": "both", "b": "both", "d/y": "y", "f": "new"}
"""What an image of LAYERS shows: the upper one hides what the lower one has at keep, d and e."""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds an image of LAYERS with these words on the command line, in the folder `tmp_path`."""
    base = layout.LayoutFolder.create(tmp_path / "base")
    made = image.Image.scratch(platform.host())
    for number, (items, hidden) in enumerate(LAYERS):
        layer = packed(tmp_path / f"layer{number}", items, hidden)
        with layer.blob.open("rb") as blob:
            described = base.put_bytes(blob.read(), layer.media_type)
        made = made.append(image.LayerRef(described, layer.diff_id), image.History())
    base.put_bytes(made.config_bytes(), made.config_descriptor.media_type)
    base.add(base.put_bytes(made.manifest_bytes(), made.descriptor.media_type))
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text("FROM base\n")
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> None:
        named = ["--isolation=layers", "--progress=quiet", "--build-context", "base=oci-layout://base"]
        assert cli.main(["build", *named, *words, "context"]) == contract.ExitCode.OK

    return run


def texts(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "mine",
    [{}, {"keep": "mine"}, {"d/mine": "mine", "e/mine": "mine"}, {"e/x": "mine", "g": "mine"}],
    ids=lambda mine: ",".join(mine) or "none",
)
def test_a_folder_keeps_what_the_image_does_not_show(build: Build, tmp_path: Path, mine: dict[str, str]) -> None:
    """A layer that hides a path of the layers below means those, never the files of whoever builds."""
    for name, text in mine.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text(text)
    build("-o", "out")
    assert texts(tmp_path / "out") == SHOWN | mine
    assert (tmp_path / "out/a").samefile(tmp_path / "out/b")


def test_a_tar_holds_what_the_image_shows_and_names_of_one_file_as_such(build: Build, tmp_path: Path) -> None:
    build("-o", "out", "-o", "type=tar,dest=other.tar", "-o", "type=tar,dest=out.tar")
    assert texts(tmp_path / "out") == SHOWN
    assert (tmp_path / "other.tar").read_bytes() == (tmp_path / "out.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "out.tar").read_bytes())) as found:
        assert {m.name for m in found if not m.isdir()} == set(SHOWN)
        assert found.getmember("b").linkname == "a"
