"""Whatever the bytes: a Dockerfile or a DockerfileError, soon."""

from __future__ import annotations

import pathlib
import random
import time

import pytest

from strata_builder import dockerfile, errors

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "dockerfile"
SEEDS = [path.read_bytes() for path in sorted(GOLDEN.glob("*/Dockerfile"))]
PIECES = [
    b"\\", b"\\\n", b"\n", b"\r\n", b"#", b"$", b"${", b"}", b"${V:-", b"${V//a/b}", b'"', b"'", b"<<EOF",
    b"\nEOF\n", b"<<-'E'", b"[", b"]",
    b'["a"]', b"--", b"--mount=", b"=", b",", b"\0", b"\xff", b"\xef\xbb\xbf", b"ONBUILD ", b"FROM x\n", b"COPY ",
    b"RUN ", b"\t", b" ",
    b"# escape=`\n", b"`", b"*", b"?", b"/", b"\xc2\x85", b"\xe2\x80\xa8", b"HEALTHCHECK ", b"[" * 2000, b"9" * 5000,
]  # fmt: skip
ENV = {"V": "a" * 50, "A": "*", "NAME": "x y"}


def _read(data: bytes) -> None:
    try:
        file = dockerfile.parse(data)
    except errors.DockerfileError as error:
        _check(error, data.count(b"\n") + 1)
        return
    for stage in file.stages:
        for instruction in (stage.from_, *stage.instructions):
            try:
                dockerfile.resolve(instruction, ENV, escape=file.escape)
            except errors.DockerfileError as error:
                str(error).encode()


def _check(error: errors.DockerfileError, lines: int) -> None:
    str(error).encode()
    assert error.place is not None
    assert 1 <= error.place.line <= error.place.end_line <= lines


def _mutated(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(data))
        cut = rng.choice([0, 0, 1, 5, 20])
        data[at : at + cut] = rng.choice(PIECES)
    return bytes(data)


def test_mutated_dockerfiles_give_a_file_or_an_error() -> None:
    rng = random.Random(20260101)
    for _ in range(2_000):
        _read(_mutated(rng))


def test_random_bytes_give_a_file_or_an_error() -> None:
    rng = random.Random(7)
    for _ in range(1_000):
        _read(
            b"FROM x\n" * rng.randint(0, 1)
            + b"".join(rng.choices(PIECES, k=rng.randint(0, 30)))
            + rng.randbytes(rng.randint(0, 60))
        )


def test_random_ignore_files_give_rules_or_an_error() -> None:
    rng = random.Random(11)
    for _ in range(1_000):
        data = b"".join(
            rng.choices(
                [b"*", b"**", b"/", b"!", b"[", b"]", b"a", b"^", b"-", b"\\", b"\n", b"?", b"\xff", b".."], k=12
            )
        )
        try:
            rules = dockerfile.IgnoreRules.parse(data)
        except errors.DockerfileError as error:
            str(error).encode()
            continue
        for path in ("a", "a/b", "a/a/a", "-", "\udcff"):
            # What is kept below an ignored directory must be reachable by the walk.
            if not rules.excludes(f"a/{path}"):
                assert rules.may_contain("a"), (data, path)


@pytest.mark.parametrize(
    "data",
    [
        b"FROM x\nENV A=" + b"${A:-" * 20_000 + b"\n",
        b"FROM x\nRUN " + b"\\\n" * 100_000 + b"x\n",
        b"FROM x\nLABEL " + b"a=b " * 50_000 + b"\n",
        b"FROM x\nRUN " + b"'\"" * 100_000 + b"<<E\n",
        b"FROM x\nRUN " + b"<<E " * 20_000 + b"\n" + b"E\n" * 20_000,
        b"FROM x\n" + b"RUN <<E\nx\nE\n" * 10_000,
        b"#" * 200_000 + b"\nFROM x\n",
        b"# escape =" + b" " * 200_000 + b"\nFROM x\n",
        b"FROM x\nCOPY " + b" " * 200_000 + b"a b\n",
        b"FROM x\nRUN --mount=" + b"," * 50_000 + b" x\n",
        b"ARG A\n" * 20_000,
        b"FROM x\nCMD " + b"[" * 100_000 + b"\n",
        b"X" * 200_000,
        b"FROM x\nENV A=1 " + b"B" * 200_000 + b"\n",
    ],
    ids=range(14),
)
def test_long_input_takes_time_in_proportion(data: bytes) -> None:
    start = time.perf_counter()
    _read(data)
    assert time.perf_counter() - start < 5
