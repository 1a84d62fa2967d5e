"""What a base image, an argument or a secret gives to a step, and no program can be given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from strata_builder import errors
from strata_builder.context import memory
from strata_builder.engine import steps
from strata_builder.oci.image import Image, ImageConfig
from strata_builder.oci.platform import Platform
from support import fake_roots
from support.engine_build import Built, Engine

NUL = "a\0b"
#: What is built on which config, with which options; and what is said of it.
WRONG: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "variable of the base": ("", {"Env": [f"A={NUL}"]}, {}, "variable 'A'"),
    "name of a variable of the base": ("", {"Env": [f"{NUL}=c"]}, {}, "variable 'a"),
    "folder of the base": ("", {"WorkingDir": f"/{NUL}"}, {}, "working directory"),
    "shell of the base": ("", {"Shell": ["/bin/sh", NUL]}, {}, "command"),
    "argument": ("ARG A\n", {}, {"build_args": {"A": NUL}}, "variable 'A'"),
    "proxy": ("", {}, {"build_args": {"http_proxy": NUL}}, "variable 'HTTP_PROXY'"),
    "ENV": ("ARG A\nENV B=$A\n", {}, {"build_args": {"A": NUL}}, "variable 'B'"),
}


class _Base:
    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def resolve(self, name: str, platform: Platform) -> steps.Base:
        data = {"os": platform.os, "architecture": platform.architecture, "config": self._config}
        data["rootfs"] = {"type": "layers", "diff_ids": []}
        return steps.Base(name, "sha256:" + "0" * 64, Image(ImageConfig.from_bytes(json.dumps(data).encode())))


def _build(place: Path, lines: str, config: dict[str, Any], **options: Any) -> Built:
    engine = Engine(place, roots=fake_roots.FakeRoots(place))
    dockerfile = f"FROM base\n{lines}"
    return engine.build(dockerfile, memory.MemoryTree({}), images=_Base(config), runs=True, **options)


@pytest.mark.parametrize("case", WRONG)
def test_a_nul_byte_in_what_a_program_is_given_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    lines, config, options, said = WRONG[case]
    with pytest.raises(errors.DockerfileError, match=said) as e:
        _build(tmp_path, f"{lines}RUN x\n", config, **options)
    assert "NUL" in e.value.message
    assert e.value.place is not None
    assert e.value.place.line == lines.count("\n") + 2


def test_a_nul_byte_in_the_target_of_a_mount_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.DockerfileError, match="target of a mount holds a NUL"):
        _build(tmp_path, "ARG T\nRUN --mount=type=tmpfs,target=/$T x\n", {"Env": [f"T={NUL}"]}, build_args={"T": NUL})


def test_a_secret_with_a_nul_byte_can_be_a_file_and_no_variable(tmp_path: Path) -> None:
    secrets = {"s": b"hid\0den"}
    _build(tmp_path, "RUN --mount=type=secret,id=s x\n", {}, secrets=secrets)
    with pytest.raises(errors.InvalidSpec, match="the secret 's' holds a NUL byte") as e:
        _build(tmp_path, "RUN --mount=type=secret,id=s,env=S x\n", {}, secrets=secrets)
    assert "hid" not in str(e.value)
    assert "target=" in e.value.hint


def test_a_variable_without_a_name_stays_in_the_image_and_reaches_no_step(tmp_path: Path) -> None:
    built = _build(tmp_path / "1", "RUN x\n", {"Env": ["=x", "A=1"]})
    assert "=x" in built.image.config.env
    assert built.layers == _build(tmp_path / "2", "RUN x\n", {"Env": ["A=1"]}).layers
