"""Building again: what makes a step run anew, what does not, and that the same inputs give the same digest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.strata_build import Builder, Image

pytestmark = pytest.mark.root


def _random(image: Image) -> str:
    return image.read("random")


def test_values_that_read_the_same_when_joined_are_told_apart(builder: Builder) -> None:
    lines = 'FROM testbase\nARG A\nARG B\nRUN echo "A=[${A-none}] B=[$B]" > /out\n'
    given = [("x-B=z", "y"), ("x", "z-B=y"), ("", "")]
    for a, b in given:
        assert builder.make(lines, {}, "--build-arg", f"A={a}", "--build-arg", f"B={b}").read("out") == (
            f"A=[{a}] B=[{b}]\n"
        )
    assert builder.make(lines, {}).read("out") == "A=[none] B=[]\n"


def test_the_words_of_a_command_are_told_apart(builder: Builder) -> None:
    for argv, out in (('"a b"', "a b\n"), ('"a","b"', "a\nb\n")):
        line = f'RUN ["/bin/sh","-c","for w; do echo \\"$w\\"; done > /o","sh",{argv}]'
        assert builder.make(f"FROM testbase\n{line}\n").read("o") == out


FILES = {"d/a.txt": "aaa", "d/b.md": "b", "d/l -> a.txt": "", "other": "o"}
COPIES = "FROM testbase\nCOPY d /d/\nRUN head -c 16 /dev/urandom | base64 > /random\n"


@dataclass(frozen=True)
class Change:
    name: str
    apply: Callable[[Path], object]
    reused: bool


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _same_size_and_time(root: Path) -> None:
    path, status = root / "d/a.txt", (root / "d/a.txt").stat()
    path.write_text("zzz")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = [
    Change("mtime", lambda r: os.utime(r / "d/a.txt", (1, 1)), True),
    Change("owner", lambda r: os.chown(r / "d/a.txt", 7, 7), True),
    Change("a file that no COPY names", lambda r: (r / "other").write_text("x"), True),
    Change("an ignore rule that changes nothing", lambda r: (r / ".dockerignore").write_text("zzz\n"), True),
    Change("content", lambda r: (r / "d/a.txt").write_text("bbbb"), False),
    Change("content of equal size and time", _same_size_and_time, False),
    Change("mode", lambda r: (r / "d/a.txt").chmod(0o600), False),
    Change("new name", lambda r: (r / "d/a.txt").rename(r / "d/c.txt"), False),
    Change("new empty directory", lambda r: (r / "d/new").mkdir(), False),
    Change("file to directory", lambda r: _replace(r / "d/b.md", Path.mkdir), False),
    Change("target of a link", lambda r: _replace(r / "d/l", lambda p: p.symlink_to("b.md")), False),
    Change("link to file", lambda r: _replace(r / "d/l", lambda p: p.write_text("aaa")), False),
]


@pytest.fixture(scope="module")
def first(builder: Builder) -> str:
    return _random(builder.make(COPIES, FILES))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_of_the_context_runs_later_steps_anew_if_it_matters(
    builder: Builder, first: str, change: Change
) -> None:
    context = builder.context(FILES, COPIES)
    change.apply(context)
    assert (_random(builder.build(context)) == first) is change.reused


RANDOM = "RUN head -c 16 /dev/urandom | base64 > /random\n"
PLAIN = "FROM testbase\nARG V=1\n" + RANDOM


@pytest.fixture(scope="module")
def plain(builder: Builder) -> str:
    return _random(builder.make(PLAIN))


@pytest.mark.parametrize(
    ("lines", "flags", "reused"),
    [
        ("# a comment\n" + PLAIN, [], True),
        (PLAIN + "LABEL a=1\n", [], True),
        ("FROM testbase\nARG V=1\nLABEL a=1\nCMD x\n" + RANDOM, [], True),
        ("FROM testbase\nARG V=1\nENV E=1\n" + RANDOM, [], False),
        ("FROM testbase\nARG V=1\nWORKDIR /tmp\n" + RANDOM, [], False),
        ("FROM testbase\nARG V=1\nUSER 5\nRUN head -c 16 /dev/urandom | base64 > /tmp/random\n", [], False),
        ('FROM testbase\nARG V=1\nSHELL ["/bin/ash","-c"]\n' + RANDOM, [], False),
        ("FROM testbase\nARG V=1\n" + RANDOM.replace("16", "17"), [], False),
        (PLAIN.replace("V=1", "V=2"), [], False),
        (PLAIN, ["--build-arg", "V=2"], False),
        (PLAIN + "ARG AFTER=1\n", ["--build-arg", "AFTER=2"], True),
        (PLAIN, ["--build-arg", "UNDECLARED=2"], True),
        (PLAIN, ["--build-arg", "HTTP_PROXY=http://proxy.example"], True),
    ],
)
def test_a_change_of_the_dockerfile_runs_a_step_anew_if_the_step_could_tell(
    builder: Builder, plain: str, lines: str, flags: list[str], reused: bool
) -> None:
    image = builder.make(lines, {}, *flags)
    made = image.read("tmp/random") if "/tmp/random" in lines else _random(image)
    assert (made == plain) is reused


def test_a_new_match_of_a_wildcard_runs_later_steps_anew(builder: Builder) -> None:
    lines = "FROM testbase\nCOPY *.txt /d/\n" + RANDOM
    files = {"a.txt": "a"}
    assert _random(builder.make(lines, files)) == _random(builder.make(lines, files | {"c.md": ""}))
    assert _random(builder.make(lines, files)) != _random(builder.make(lines, files | {"b.txt": ""}))


def test_a_change_of_chmod_or_of_a_heredoc_runs_later_steps_anew(builder: Builder) -> None:
    made = [
        _random(builder.make(f"FROM testbase\nCOPY --chmod={mode} <<E /f\n{body}\nE\n{RANDOM}"))
        for mode, body in (("644", "a"), ("600", "a"), ("644", "b"), ("644", "a"))
    ]
    assert made[0] == made[3]
    assert len(set(made)) == 3


def test_the_value_of_a_secret_does_not_matter(builder: Builder, tmp_path: Path) -> None:
    lines = "FROM testbase\nRUN --mount=type=secret,id=s head -c 16 /dev/urandom | base64 > /random\n"
    made = []
    for value in ("one", "two"):
        (tmp_path / "s").write_text(value)
        made.append(_random(builder.make(lines, {}, "--secret", f"id=s,src={tmp_path / 's'}")))
    assert made[0] == made[1]


def test_what_a_bind_mount_shows_belongs_to_the_key(builder: Builder) -> None:
    lines = (
        "FROM scratch AS s\nCOPY f /f\nFROM testbase\n"
        "RUN --mount=from=s,target=/m cat /m/f > /o\nRUN --mount=target=/c cat /c/g > /p\n"
    )
    for f, g in (("f1", "g1"), ("f2", "g1"), ("f2", "g2")):
        image = builder.make(lines, {"f": f, "g": g})
        assert (image.read("o"), image.read("p")) == (f, g)


SAME = (
    "FROM testbase\nUSER app\nCOPY foo* /\nCOPY d /o\nRUN mkdir -p /tmp/q && echo 1 > /tmp/q/f\n"
    "USER 0\nRUN umask > /u; touch /f; mkdir /d\nCOPY foo1 /newdir/f0\nWORKDIR /wd\n"
)
EPOCH = {"SOURCE_DATE_EPOCH": "1000000000"}  # else what a RUN makes keeps its real times
NAMES = ["foo1", "foo2", "d/a", "d/b", "d/ü.txt"]


def _elsewhere(builder: Builder, tmp_path: Path) -> Builder:
    """Another machine: nothing cached."""
    tmp_path.mkdir(exist_ok=True)
    return Builder(tmp_path, builder.base)


@pytest.mark.parametrize(
    ("umask", "env"),
    [(0o077, {"LANG": "C", "LC_ALL": "C"}), (0o000, {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"})],
    ids=["tight umask, C locale", "open umask, another zone"],
)
def test_two_checkouts_give_one_digest_whatever_the_machine(
    builder: Builder, tmp_path: Path, umask: int, env: dict[str, str]
) -> None:
    here = builder.build(builder.context({name: name for name in NAMES}, SAME), env=EPOCH)
    other = _elsewhere(builder, tmp_path)
    there = other.context({name: name for name in reversed(NAMES)}, SAME)
    for path in there.rglob("*"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    made = other.build(there, umask=umask, env={**EPOCH, **env})
    assert made.digest == here.digest
    assert made.read("u") == "0022\n"
    assert made.listed("f", "d", "newdir", "wd") == [
        "d 0755 0:0 d",
        "f 0644 0:0 f",
        "d 0755 0:0 newdir",
        "f 0644 0:0 newdir/f0",
        "d 0755 0:0 wd",
    ]


def test_warm_and_cold_builds_give_one_digest(builder: Builder, tmp_path: Path) -> None:
    context = builder.context({name: name for name in NAMES}, SAME)
    other = _elsewhere(builder, tmp_path)
    cold = other.build(context, env=EPOCH)
    warm = other.build(context, env=EPOCH)
    forced = other.build(context, "--no-cache", env=EPOCH)
    assert "CACHED" in warm.log
    assert "CACHED" not in cold.log + forced.log
    assert cold.digest == warm.digest == forced.digest


def test_without_a_run_two_checkouts_give_one_digest_and_no_epoch_is_needed(builder: Builder, tmp_path: Path) -> None:
    lines = "FROM testbase\nUSER app\nCOPY foo* /\nCOPY d /o\nWORKDIR /wd\n"
    here = builder.make(lines, {name: name for name in NAMES})
    there = _elsewhere(builder, tmp_path).make(lines, {name: name for name in reversed(NAMES)})
    assert here.digest == there.digest
    assert here.config["created"] == "2000-01-01T00:00:00Z"


def test_source_date_epoch_is_every_time_and_base_layers_stay(builder: Builder) -> None:
    context = builder.context({name: name for name in NAMES}, SAME)
    image = builder.build(context, env=EPOCH)
    times = {image.config["created"], *(entry["created"] for entry in image.config["history"][1:])}
    assert times == {"2001-09-09T01:46:40Z"}
    assert image.manifest["layers"][0]["digest"] == builder.build(context).manifest["layers"][0]["digest"]


def test_a_damaged_cache_costs_time_and_nothing_else(builder: Builder, tmp_path: Path) -> None:
    context = builder.context({name: name for name in NAMES}, SAME)
    other = _elsewhere(builder, tmp_path)
    before = other.build(context, env=EPOCH)
    unpacked = other.folder / "cache/layers"
    for path in (other.folder / "cache").rglob("*"):
        if path.is_file() and path.stat().st_size < 4096 and not _is_in_a_layer(path, unpacked):
            path.write_bytes(b"\x00broken")
    assert other.build(context, env=EPOCH).digest == before.digest


def _is_in_a_layer(path: Path, unpacked: Path) -> bool:
    return path.is_relative_to(unpacked) and path.relative_to(unpacked).parts[1] == "root"


def test_layers_that_an_earlier_build_has_unpacked_make_the_same_image(builder: Builder, tmp_path: Path) -> None:
    warm, cold = _elsewhere(builder, tmp_path / "warm"), _elsewhere(builder, tmp_path / "cold")
    lines = "FROM testbase\nRUN mkdir -p /d/e && echo 1 > /d/e/f && chmod 750 /d\nRUN rm -r /d/e && echo 2 > /d/g\n"
    lines += "COPY foo /foo\nRUN (find / -xdev -type f | sort; stat -c '%n %a %u %g' /d /d/*; cat /foo) > /list\n"
    kept = []
    for content in "abc":
        context = warm.context({"foo": content}, lines)
        image = warm.build(context, env=EPOCH)
        kept.append({path.name for path in (warm.folder / "cache/layers").iterdir()})
    assert kept[0] < kept[1] == kept[2]
    there = cold.build(cold.context({"foo": "c"}, lines), env=EPOCH)
    assert image.read("list") == there.read("list")
    assert image.own == there.own
    assert image.digest == there.digest


def test_two_builds_at_once_share_a_cache(builder: Builder, tmp_path: Path) -> None:
    other = _elsewhere(builder, tmp_path)
    context = other.context({name: name for name in NAMES}, SAME)

    def build(number: int) -> subprocess.CompletedProcess[str]:
        return other.run(context, "-o", f"type=oci,dest={tmp_path / str(number)}.tar", env=EPOCH)

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(build, range(2)))
    assert [done.returncode for done in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    assert (tmp_path / "0.tar").read_bytes() == (tmp_path / "1.tar").read_bytes()
