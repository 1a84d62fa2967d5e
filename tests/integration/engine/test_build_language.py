"""What an image's config and a RUN make of the Dockerfile's words: comments, forms, variables, quotes."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import pytest

from support.strata_build import Builder

pytestmark = pytest.mark.root


def test_comments_and_blank_lines_inside_a_continued_instruction_vanish(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase\nRUN echo a \\\n  # an indented comment\n  b \\\n\n  c > /r1\n"
        "ENV A=1 \\\n# flush-left comment\n    B=2 \\\n\n  C=3\nCMD echo x # y\n"
    )
    assert image.read("r1") == "a b c\n"
    assert {name: image.env[name] for name in "ABC"} == {"A": "1", "B": "2", "C": "3"}
    assert image.config["config"]["Cmd"] == ["/bin/sh", "-c", "echo x # y"]


@pytest.mark.parametrize(
    ("line", "cmd"),
    [
        ('CMD ["a","b c"]', ["a", "b c"]),
        ("CMD ['a','b']", ["/bin/sh", "-c", "['a','b']"]),
        ('CMD ["a", "b"', ["/bin/sh", "-c", '["a", "b"']),
        ('CMD [ "a" ] extra', ["/bin/sh", "-c", '[ "a" ] extra']),
        ('CMD ["C:\\x"]', ["/bin/sh", "-c", '["C:\\x"]']),
        ('CMD ["C:\\\\x"]', ["C:\\x"]),
        ("CMD []", None),
        ('CMD echo "$X"   two  \\\n  three', ["/bin/sh", "-c", 'echo "$X"   two    three']),
        ('SHELL ["/bin/bash","-ec"]\nCMD hi there', ["/bin/bash", "-ec", "hi there"]),
    ],
)
def test_cmd_is_json_only_where_the_json_is_whole(builder: Builder, line: str, cmd: list[str] | None) -> None:
    image = builder.make(f"FROM scratch\n{line}\n")
    assert image.config["config"].get("Cmd") == cmd
    assert image.config["config"].get("Shell") == (["/bin/bash", "-ec"] if "SHELL" in line else None)


def test_an_empty_cmd_clears_the_inherited_one(builder: Builder) -> None:
    assert not builder.make("FROM testbase\nCMD []\n").config["config"].get("Cmd")


def test_windows_line_ends_a_byte_order_mark_and_odd_case_are_read(builder: Builder) -> None:
    lines = [
        "FROM testbase",
        "  env A=1 \\",
        "\tB=2",
        "RUN <<EOF",
        "echo hi > /o",
        "EOF",
        "COPY <<EOF /c",
        "line",
        "EOF",
        'LABEL x="y"',
        "",
    ]
    image = builder.make(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert (image.env["A"], image.env["B"]) == ("1", "2")
    assert image.config["config"]["Labels"] == {"x": "y"}
    assert image.read("o") == "hi\n"
    assert image.read("c") == "line\r\n"
    assert image.listed("o", "c") == ["f 0644 0:0 c", "f 0644 0:0 o"]


def test_expose_ends_up_as_single_ports(builder: Builder) -> None:
    image = builder.make("FROM scratch\nARG P=90\nEXPOSE 80 443/tcp 53/UDP 8000-8002 $P ${P}1/udp\n")
    ports = "80/tcp 443/tcp 53/udp 8000/tcp 8001/tcp 8002/tcp 90/tcp 901/udp"
    assert set(image.config["config"]["ExposedPorts"]) == set(ports.split())


@pytest.mark.parametrize(
    ("lines", "entrypoint", "cmd"),
    [
        ('FROM testbase\nENTRYPOINT ["/e"]', ["/e"], None),
        ('FROM scratch\nCMD ["x"]\nENTRYPOINT ["/e"]', ["/e"], ["x"]),
        ('FROM testbase AS p\nCMD ["x"]\nFROM p\nENTRYPOINT ["/e"]', ["/e"], None),
        ('FROM testbase AS p\nENTRYPOINT ["/e"]\nFROM p\nCMD ["n"]', ["/e"], ["n"]),
        ('FROM testbase AS p\nENTRYPOINT ["/x"]\nFROM p\nENTRYPOINT []', None, None),
    ],
)
def test_entrypoint_clears_an_inherited_cmd_and_keeps_its_own(
    builder: Builder, lines: str, entrypoint: list[str] | None, cmd: list[str] | None
) -> None:
    config = builder.make(lines + "\n").config["config"]
    assert (config.get("Entrypoint"), config.get("Cmd")) == (entrypoint, cmd)


def test_substitution_forms_and_old_values_inside_one_env(builder: Builder) -> None:
    image = builder.make(
        "FROM scratch\nARG A=arg\nENV OLD hello   world  # kept\n"
        'ENV X=1 Y=$X Z="$X$A"\nENV X=2 Y2=$X\nENV EMPTY=\n'
        "ENV D1=${NO:-def} D2=${A:+alt} D3=${NO:+alt} D4=${NO-x} D5=${A-x}\n"
        "ENV D6=${EMPTY:-e} D7=${EMPTY-e} D8=${EMPTY:+p} D9=${EMPTY+p}\n"
        'ENV N1=${NO:-${A}} N2=${NO:-"q q"} N3=${NO:-$A-$A}\n'
        "ENV U1=pre${NO}post U2=$A_B U3=${A}_B U4=cost$\n"
        "ENV V=foo.tar.gz P=/a/b/c.txt\n"
        "ENV E1=${V%.gz} E2=${V%%.*} E3=${P##*/} E4=${P#*/} E5=${V/o/0} E6=${V//o/0}\n"
    )
    wanted = {"OLD": "hello   world  # kept", "X": "2", "Y": "", "Z": "arg", "Y2": "1"}
    wanted |= {"D1": "def", "D2": "alt", "D3": "", "D4": "x", "D5": "arg", "D6": "e", "D7": "", "D8": "", "D9": "p"}
    wanted |= {"N1": "arg", "N2": "q q", "N3": "arg-arg", "U1": "prepost", "U2": "", "U3": "arg_B", "U4": "cost$"}
    wanted |= {"E1": "foo.tar", "E2": "foo", "E3": "c.txt", "E4": "a/b/c.txt", "E5": "f0o.tar.gz", "E6": "f00.tar.gz"}
    assert {name: image.env[name] for name in wanted} == wanted
    assert [item.partition("=")[0] for item in image.config["config"]["Env"]][1:4] == ["OLD", "X", "Y"]


SCOPES = """\
ARG G=glob
ARG H=h-${G}
FROM scratch AS a
ENV A1=$G
ARG G
ENV A2=$G
ARG H
ENV A3=$H
FROM a AS b
ENV B1=$G
FROM scratch AS c
ARG G=local
ENV C1=$G
FROM scratch AS d
ARG G
ENV D1=[$G]
"""


@pytest.mark.parametrize(
    ("flags", "env"),
    [
        (["--target", "b"], {"A1": "", "A2": "glob", "A3": "h-glob", "B1": "glob"}),
        (["--target", "c"], {"C1": "local"}),
        (["--target", "c", "--build-arg", "G=cli"], {"C1": "cli"}),
        (["--target", "d", "--build-arg", "G="], {"D1": "[]"}),
    ],
)
def test_an_arg_is_seen_in_the_stages_that_declare_it_and_those_built_on_them(
    builder: Builder, flags: list[str], env: dict[str, str]
) -> None:
    image = builder.make(SCOPES, {}, *flags)
    assert {name: image.env[name] for name in env} == env


def test_only_proxies_reach_a_run_undeclared_and_leave_no_trace(builder: Builder) -> None:
    flags = ["--build-arg", "UNDECLARED=seen", "--build-arg", "HTTP_PROXY=http://proxy.example:3128"]
    image = builder.make('FROM testbase\nRUN echo "[$UNDECLARED] [$HTTP_PROXY]" > /o\n', {}, *flags)
    assert image.read("o") == "[] [http://proxy.example:3128]\n"
    assert "proxy.example" not in json.dumps(image.config)


def test_the_later_of_an_arg_and_an_env_of_one_name_wins(builder: Builder) -> None:
    lines = "FROM testbase\nENV V=base\nARG V\nRUN echo $V > /o\nENV V2=$V\n"
    image = builder.make(lines, {}, "--build-arg", "V=cli")
    assert (image.read("o"), image.env["V2"], image.env["V"]) == ("cli\n", "cli", "base")


def test_quotes_in_env_are_taken_off_and_a_run_stays_raw(builder: Builder) -> None:
    image = builder.make(
        r"""FROM testbase
ENV A="x y" Q1='$A' Q3=\$A Q4="\$A" Q6="a \"b\"" Q7=a\ b T="x"'y'z W='it'"'"'s' K='a\\b' K2="a\\b"
RUN printf "%s\n" "$A" '$A' \$A "\$A" > /o
RUN ["/bin/sh","-c","printf '%s\n' \"$A\" > /o2"]
CMD ["echo","$A"]
""".replace(r"'%s\n'", r"'%s\\n'")
    )
    wanted = {"A": "x y", "Q1": "$A", "Q3": "$A", "Q4": "$A", "Q6": 'a "b"', "Q7": "a b"}
    wanted |= {"T": "xyz", "W": "it's", "K": "a\\\\b", "K2": "a\\b"}
    assert {name: image.env[name] for name in wanted} == wanted
    assert image.read("o") == "x y\n$A\n$A\n$A\n"
    assert image.read("o2") == "x y\n"
    assert image.config["config"]["Cmd"] == ["echo", "$A"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ENV A=1 # note", "#"),
        ('CMD ["a", 1]', "string"),
        ('CMD ["a", ["n"]]', "string"),
        ("EXPOSE 70000", "70000"),
        ("EXPOSE 80/foo", "foo"),
        ("ENV A=${}", "${}"),
        ("ENV A=${B", "${B"),
        ("ENV A=1 B C=3", "B"),
        ('ARG R\nENV A="${R:?must be set}"', "R: must be set"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(builder: Builder, line: str, said: str) -> None:
    fault = builder.fault(f"FROM scratch\n{line}\n")
    assert said in fault
    assert f"Dockerfile:{2 + line.count(chr(10))}" in fault


BY_PLATFORM = (
    "ARG TARGETARCH\nFROM scratch AS amd64\nCOPY f /amd\nFROM scratch AS arm64\nCOPY f /arm\n"
    "FROM ${TARGETARCH} AS build\nFROM scratch\nCOPY --from=build / /\n"
    "ARG TARGETPLATFORM\nENV P=$TARGETPLATFORM\nENV Q=[$TARGETOS]\n"
)


def test_a_base_arg_may_choose_the_stage_for_the_platform(builder: Builder) -> None:
    image = builder.make(BY_PLATFORM, {"f": "f"}, "--platform", "linux/arm64")
    assert (image.env["P"], image.env["Q"]) == ("linux/arm64", "[]")
    assert image.config["architecture"] == "arm64"
    assert image.listed() == ["f 0644 0:0 arm"]


def test_a_platform_without_its_stage_is_an_error_of_the_from_line(builder: Builder) -> None:
    fault = builder.fault(BY_PLATFORM, {"f": "f"}, "--platform", "linux/arm/v7")
    assert "Dockerfile:6" in fault
    assert "arm" in fault


def test_an_image_of_several_platforms_is_an_index_that_names_each_with_its_variant(builder: Builder) -> None:
    context = builder.context({"f": "f"}, "FROM scratch\nCOPY f /f\nARG TARGETPLATFORM\nENV P=$TARGETPLATFORM\n")
    made = builder.folder / "platforms.tar"
    ended = builder.run(context, "--platform", "linux/amd64,linux/arm/v7", "-o", f"type=oci,dest={made}")
    assert ended.returncode == 0, ended.stderr
    with tarfile.open(made) as tar:
        blobs = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]

    def blob(described: dict[str, Any]) -> Any:
        data = blobs["blobs/" + described["digest"].replace(":", "/")]
        assert len(data) == described["size"]
        return json.loads(data)

    (named,) = json.loads(blobs["index.json"])["manifests"]
    children = blob(named)["manifests"]
    arm = {"os": "linux", "architecture": "arm", "variant": "v7"}
    assert [child["platform"] for child in children] == [{"os": "linux", "architecture": "amd64"}, arm]
    configs = [blob(blob(child)["config"]) for child in children]
    assert [{name: config.get(name) for name in arm} for config in configs] == [
        {"os": "linux", "architecture": "amd64", "variant": None},
        arm,
    ]
    assert ["P=linux/arm/v7" in config["config"]["Env"] for config in configs] == [False, True]
