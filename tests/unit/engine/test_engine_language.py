"""The image's config after whole Dockerfiles: traps that other builders fell into."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support import dockerfile_images, dockerfile_plans


def _config(source: str, **question: Any) -> dict[str, Any]:
    made = dockerfile_plans.built(source.encode(), images=dockerfile_images.ALL, **question)
    assert "error" not in made, made
    config: dict[str, Any] = made["image"]["config"]
    return config


def _env(source: str, **question: Any) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in _config(source, **question)["Env"])


@pytest.mark.parametrize(
    ("source", "entrypoint", "cmd"),
    [
        ('FROM testbase:1\nENTRYPOINT ["/n"]\n', ["/n"], None),
        ('FROM scratch\nCMD ["x"]\nENTRYPOINT ["/e"]\n', ["/e"], ["x"]),
        ('FROM testbase AS p\nCMD ["x"]\nFROM p\nENTRYPOINT ["/e"]\n', ["/e"], None),
        ('FROM testbase AS p\nENTRYPOINT ["/e"]\nFROM p\nCMD ["n"]\n', ["/e"], ["n"]),
        ('FROM testbase AS p\nENTRYPOINT ["/x"]\nFROM p\nENTRYPOINT []\n', None, None),
        ("FROM testbase\nCMD []\n", None, None),
        ('FROM scratch\nSHELL ["/bin/bash", "-ec"]\nCMD hi there\n', None, ["/bin/bash", "-ec", "hi there"]),
    ],
)
def test_entrypoint_clears_an_inherited_command_and_keeps_its_own(
    source: str, entrypoint: list[str] | None, cmd: list[str] | None
) -> None:
    config = _config(source)
    assert (config.get("Entrypoint"), config.get("Cmd")) == (entrypoint, cmd)


GLOBAL = (
    "ARG G=glob\nARG H=h-${G}\nFROM scratch AS a\nENV A1=$G\nARG G\nENV A2=$G\nARG H\nENV A3=$H\n"
    "FROM a AS b\nENV B1=$G\nFROM scratch AS c\nARG G=local\nENV C1=$G\nFROM scratch AS d\nARG G\nENV D1=[${G-unset}]\n"
)


@pytest.mark.parametrize(
    ("target", "args", "expected"),
    [
        ("b", {}, {"A1": "", "A2": "glob", "A3": "h-glob", "B1": "glob"}),
        ("c", {}, {"C1": "local"}),
        ("c", {"G": "cli"}, {"C1": "cli"}),
        ("d", {"G": ""}, {"D1": "[]"}),
        ("d", {"OTHER": "x"}, {"D1": "[glob]"}),
    ],
)
def test_an_argument_is_seen_from_its_declaration_on_and_in_stages_built_on_it(
    target: str, args: dict[str, str], expected: dict[str, str]
) -> None:
    found = _env(GLOBAL, target=target, args=args)
    assert {name: found[name] for name in expected} == expected


def test_a_proxy_argument_is_in_no_config() -> None:
    assert "proxy" not in json.dumps(_config("FROM scratch\nRUN x\n", args={"HTTP_PROXY": "http://proxy"}))


def test_the_later_of_env_and_argument_wins() -> None:
    assert _env("FROM testbase\nARG A\nENV X=$A\n", args={"A": "cli"}) | {"PATH": ""} == {
        "A": "img", "EMPTY": "", "PATH": "", "X": "cli",
    }  # fmt: skip
    assert _env("FROM scratch\nARG V\nENV V=x Y=$V\nENV Z=$V\n", args={"V": "cli"})["Z"] == "x"


def test_a_trigger_fires_once_in_the_child_and_never_again() -> None:
    source = "FROM testbase AS a\nONBUILD ARG Q=7\nONBUILD ENV QQ=$Q\nONBUILD RUN x\nFROM a AS b\nFROM b AS c\n"
    assert _config(source, target="a")["OnBuild"] == ["ARG Q=7", "ENV QQ=$Q", "RUN x"]
    for target in ("b", "c"):
        config = _config(source, target=target)
        assert "OnBuild" not in config
        assert "QQ=7" in config["Env"]


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        ("WORKDIR rel\n", "/rel"),
        ("WORKDIR /work/deep\nWORKDIR ../up/./x/\n", "/work/up/x"),
        ("WORKDIR /a\nWORKDIR ../../x\n", "/x"),
        ("WORKDIR //a//b\n", "/a/b"),
    ],
)
def test_a_working_directory_is_absolute_and_clean(lines: str, path: str) -> None:
    assert _config(f"FROM scratch\n{lines}")["WorkingDir"] == path


@pytest.mark.parametrize("platform", ["linux/arm64", "linux/arm/v7"])
def test_the_image_is_for_the_platform_that_was_asked_for_whatever_its_base_was_for(platform: str) -> None:
    made = dockerfile_plans.built(
        b"FROM --platform=$BUILDPLATFORM testbase\n", images=dockerfile_images.ALL, platform=platform
    )["image"]
    assert "/".join(filter(None, (made["os"], made["architecture"], made.get("variant")))) == platform


@pytest.mark.parametrize("platform", ["windows/amd64", "Windows/arm64"])
def test_no_image_for_windows_is_begun(platform: str) -> None:
    said = dockerfile_plans.built(b"FROM scratch\n", images={}, platform=platform)["error"]
    assert said == f"no image for {platform.lower()} can be built here"


def test_an_image_for_neither_linux_nor_windows_is_built() -> None:
    assert dockerfile_plans.built(b"FROM scratch\n", images={}, platform="wasi/wasm")["image"]["os"] == "wasi"


def test_what_a_base_says_and_nobody_changes_survives() -> None:
    base = json.loads(dockerfile_images.TESTBASE)["config"]
    assert _config("FROM testbase\nENV NEW=1\n") == base | {"Env": [*base["Env"], "NEW=1"]}


def test_of_a_stage_that_is_not_needed_the_from_line_must_be_right() -> None:
    for source in ("FROM $NO AS a\nFROM scratch\n", "FROM --platform=$NO scratch\nFROM scratch\n"):
        assert "expands to nothing" in dockerfile_plans.built(source.encode(), images={})["error"]
    assert "image" in dockerfile_plans.built(b"FROM missing AS a\nRUN exit 1\nFROM scratch\n", images={})


@pytest.mark.parametrize("line", ["FROM s{before} AS s{n}\n", "FROM scratch AS s{n}\nCOPY --from=s{before} f /\n"])
def test_a_long_chain_of_stages_is_no_recursion(line: str) -> None:
    chain = "".join(line.format(before=n - 1, n=n) for n in range(1, 600))
    made = dockerfile_plans.built(f"FROM scratch AS s0\nLABEL a=b\n{chain}".encode(), images={})
    assert "image" in made


@pytest.mark.parametrize(
    "line",
    [
        b"CMD caf\xe9", b"ENV A=caf\xe9", b"LABEL a=caf\xe9", b"MAINTAINER Jos\xe9", b"ONBUILD RUN caf\xe9", b"VOLUME /\xe9",
        b"USER \xe9", b"WORKDIR /\xe9", b'ENTRYPOINT ["\xe9"]', b"HEALTHCHECK CMD \xe9", b"RUN \xe9", b"COPY f \xe9",
    ],
)  # fmt: skip
def test_a_dockerfile_in_another_encoding_makes_a_config_with_replacement_characters(line: bytes) -> None:
    source = b"FROM scratch\n" + line + b"\n"
    made = dockerfile_plans.built(source, images={})
    assert "error" not in made
    shown = json.dumps(made, ensure_ascii=False)
    assert ("\ufffd" in shown) == (not line.startswith((b"RUN", b"COPY")))
    plan = dockerfile_plans.planned(source)
    assert "\ufffd" in plan.stages[0].steps[0].created_by
    plan.stages[0].steps[0].created_by.encode()
