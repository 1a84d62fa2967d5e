"""The tag of an image of ours says what went into it, and its name where it lies."""

import os
from pathlib import Path

import pytest
from hack import images, tools


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tools, "ROOT", tmp_path)
    (tmp_path / "part").mkdir()
    (tmp_path / "part/Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "alone").write_text("1")
    return tmp_path


def tag() -> str:
    return images.Image("part", ("part", "alone")).tag


def change_text(root: Path) -> None:
    (root / "alone").write_text("2")


def change_mode(root: Path) -> None:
    os.chmod(root / "alone", 0o755)


def add(root: Path) -> None:
    (root / "part/new").write_text("")


def rename(root: Path) -> None:
    (root / "part/Dockerfile").rename(root / "part/Other")


@pytest.mark.parametrize("change", [change_text, change_mode, add, rename])
def test_another_source_is_another_tag(root, change):
    before = tag()
    change(root)
    assert tag() != before


def test_compiled_files_and_times_are_no_sources(root):
    before = tag()
    (root / "part/__pycache__").mkdir()
    (root / "part/__pycache__/x.pyc").write_text("")
    os.utime(root / "alone", (1, 1))
    assert tag() == before


def test_on_an_existing_cluster_images_lie_in_the_registry_that_was_named(root, monkeypatch):
    monkeypatch.setenv("STRATA_CLUSTER", "existing")
    monkeypatch.setenv("STRATA_IMAGE_REGISTRY", "registry.example/strata/")
    assert images.Image("part", ("part",)).repository == "registry.example/strata/part"
    monkeypatch.delenv("STRATA_IMAGE_REGISTRY")
    with pytest.raises(tools.Stop, match="export STRATA_IMAGE_REGISTRY"):
        _ = images.Image("part", ("part",)).repository


def test_old_archives_go_and_the_newest_stay(tmp_path):
    for number in range(images.KEPT + 2):
        (tmp_path / f"{number}.tar").write_text("")
        os.utime(tmp_path / f"{number}.tar", (number, number))
    images._forget(tmp_path)
    assert sorted(p.stem for p in tmp_path.iterdir()) == [str(n) for n in range(2, images.KEPT + 2)]
