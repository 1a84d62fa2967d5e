"""Images in OCI layouts on this machine: the folder that `-o type=oci,tar=false` writes is one that --build-context reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from strata_builder import cli, contract

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `strata build` in the folder `tmp_path`; returns what it said. The image of `made` is labelled by its name."""
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def go(dockerfile: str, *words: str, code: int = contract.ExitCode.OK) -> str:
        (tmp_path / "Dockerfile").write_text(dockerfile)
        assert cli.main(["build", "--isolation=layers", "--progress=quiet", *words, "."]) == code
        return capsys.readouterr().err

    return go


@pytest.fixture
def written(run: Run) -> Run:
    """Writes an image with a label into the layout `lay`."""
    return lambda label, *words: run(f"FROM scratch\nLABEL l={label}\n", "-o", "type=oci,dest=lay,tar=false", *words)


def label_of_base(run: Run, tmp_path: Path, context: str) -> str:
    run("FROM base\n", "--build-context", f"base={context}", "-o", "type=oci,dest=out,tar=false")
    (made,) = listed(tmp_path / "out")
    config = blob(tmp_path / "out", blob(tmp_path / "out", made["digest"])["config"]["digest"])
    (tmp_path / "out/index.json").unlink()
    return config["config"]["Labels"]["l"]


def listed(folder: Path) -> list[dict]:
    return json.loads((folder / "index.json").read_text())["manifests"]


def blob(folder: Path, digest: str) -> dict:
    return json.loads((folder / "blobs" / digest.replace(":", "/")).read_text())


def test_a_folder_names_its_images_as_an_archive_does(written: Run, run: Run, tmp_path: Path) -> None:
    written("a", "-t", "web:1", "-t", "registry.example/team/web:2", "-o", "type=oci,dest=lay.tar")
    import tarfile

    with tarfile.open(tmp_path / "lay.tar") as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        assert listed(tmp_path / "lay") == json.load(index)["manifests"]
    assert [made["annotations"]["org.opencontainers.image.ref.name"] for made in listed(tmp_path / "lay")] == ["1", "2"]
    for tag in ("1", "2"):
        assert label_of_base(run, tmp_path, f"oci-layout://lay:{tag}") == "a"


def test_a_name_moves_and_the_same_tag_of_another_name_stays(written: Run, tmp_path: Path) -> None:
    written("a", "-t", "web:1", "-t", "app:1")
    written("b", "-t", "web:1")
    first, second = listed(tmp_path / "lay")
    assert first["annotations"]["io.containerd.image.name"] == "docker.io/library/app:1"
    assert second["annotations"]["io.containerd.image.name"] == "docker.io/library/web:1"
    assert first["digest"] != second["digest"]


@pytest.mark.parametrize("form", ["lay@{}", "lay:2@{}", "a:b/lay@{}", "a:b/lay:1", "{root}/lay:1"])
def test_an_image_of_a_layout_is_named_by_tag_or_digest(written: Run, run: Run, tmp_path: Path, form: str) -> None:
    written("a", "-t", "web:1")
    written("b", "-t", "web:2")
    (tmp_path / "a:b").mkdir()
    (tmp_path / "a:b/lay").symlink_to(tmp_path / "lay")
    digest = next(
        m["digest"] for m in listed(tmp_path / "lay") if m["annotations"]["io.containerd.image.name"][-1] == "1"
    )
    context = f"oci-layout://{form.format(digest, root=tmp_path)}"
    assert label_of_base(run, tmp_path, context) == "a"


def test_an_image_of_several_platforms_and_names_is_one(written: Run, run: Run, tmp_path: Path) -> None:
    written("a", "-t", "web:1", "-t", "web:2", "--platform", "linux/amd64,linux/arm64,linux/386,linux/arm")
    assert label_of_base(run, tmp_path, "oci-layout://lay") == "a"
    top = listed(tmp_path / "lay")[0]["digest"]
    assert label_of_base(run, tmp_path, f"oci-layout://lay@{top}") == "a"
    child = blob(tmp_path / "lay", top)["manifests"][0]["digest"]
    assert label_of_base(run, tmp_path, f"oci-layout://lay@{child}") == "a"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lay", "several images: docker.io/library/app:1, docker.io/library/web:1, docker.io/library/web:2"),
        ("lay:1", "several images named '1': docker.io/library/app:1, docker.io/library/web:1"),
        ("lay:3", "no image named '3'"),
        ("lay@sha256:" + "0" * 64, "no image sha256:000"),
        ("lay@sha256:beef", "sha256:beef"),
        ("none:1", "there is nothing at none"),
    ],
)
def test_what_names_no_image_of_a_layout_or_several_is_told(written: Run, run: Run, name: str, said: str) -> None:
    written("a", "-t", "web:1")
    written("b", "-t", "web:2")
    written("c", "-t", "app:1")
    told = run("FROM base\n", "--build-context", f"base=oci-layout://{name}", code=contract.ExitCode.FAILED)
    assert said in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--platform=linux/amd64,linux/amd64"], []),
        (["--platform=linux/x86_64", "--platform", "linux/amd64/v1"], []),
        (["--platform=linux/arm64,linux/amd64,linux/arm64/v8", "--platform=linux/aarch64"], ["amd64", "arm64"]),
    ],
)
def test_a_platform_that_is_named_twice_is_built_once(
    written: Run, tmp_path: Path, words: list[str], found: list[str]
) -> None:
    written("a", *words)
    (top,) = listed(tmp_path / "lay")
    document = blob(tmp_path / "lay", top["digest"])
    assert [child["platform"]["architecture"] for child in document.get("manifests", [])] == found
