"""A mounted ConfigMap as a context."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import configmap


def mount(folder: Path, **keys: str) -> Path:
    """`keys` as the kubelet lays them out: a folder of the version, ..data to it, a link a key."""
    version = folder / "..2024_05_01_10_00_00.123"
    version.mkdir()
    os.symlink(version.name, folder / "..data")
    for key, text in keys.items():
        (version / key).write_text(text)
        os.symlink(f"..data/{key}", folder / key)
    return folder


def test_every_key_is_a_file_of_its_name(tmp_path: Path) -> None:
    tree = configmap.read(mount(tmp_path, Dockerfile="FROM scratch", conf="x"))
    assert tree.children(b"") == [b"Dockerfile", b"conf"]
    assert tree.open(b"conf").read() == b"x"
    entry = tree.lookup(b"conf")
    assert entry is not None
    assert entry.mode == 0o644


def test_a_mapping_gives_keys_their_paths(tmp_path: Path) -> None:
    tree = configmap.read(mount(tmp_path, f0="one", f1="two", f2="no"), [("a/b.txt", "f0"), ("ü", "f1"), ("c", "f0")])
    assert tree.children(b"") == [b"a", b"c", "ü".encode()]
    assert tree.open(b"a/b.txt").read() == b"one"


def test_a_plain_folder_serves_too(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("v")
    assert configmap.read(tmp_path).open(b"k").read() == b"v"


def test_a_missing_key_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceNotFound, match=r"no key 'nope'\n.*its keys are: a, b"):
        configmap.read(mount(tmp_path, a="", b=""), [("x", "nope")])


def test_a_missing_mount_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceNotFound, match="not mounted at"):
        configmap.read(tmp_path / "nowhere")


@pytest.mark.parametrize("target", ["/etc", "..", "../x", "a/b"])
def test_the_link_of_the_version_stays_in_the_mount(tmp_path: Path, target: str) -> None:
    os.symlink(target, tmp_path / "..data")
    with pytest.raises(errors.SourceNotFound, match="not a link that a kubelet makes"):
        configmap.read(tmp_path)


def test_a_key_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    folder = tmp_path / "m"
    folder.mkdir()
    os.symlink("../secret", mount(folder, a="1") / "..2024_05_01_10_00_00.123" / "b")
    with pytest.raises(errors.SourceNotFound, match="cannot read the key 'b'"):
        configmap.read(folder, [("b", "b")])


def test_a_path_outside_the_context_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidSpec, match="not a path inside the context"):
        configmap.read(mount(tmp_path, a="1"), [("../../etc/x", "a")])
