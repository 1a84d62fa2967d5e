"""Whatever the bytes: a Dockerfile, rules, a word, or a DockerfileError that names its place."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import text

QUICK = settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
ENV = {"A": "arg", "V": "a" * 50, "E": ""}
TOKENS = st.sampled_from(
    [
        b"FROM ", b"RUN ", b"COPY ", b"ADD ", b"ENV ", b"ARG ", b"LABEL ", b"CMD ", b"ONBUILD ", b"EXPOSE ", b"SHELL ",
        b"HEALTHCHECK ", b"VOLUME ", b"STOPSIGNAL ", b"--mount=", b"--from=", b"type=", b"target=", b"a", b"=", b",", b"\n",
        b"\n", b" ", b"\\\n", b"\\", b"`", b"$", b"${", b"}", b":-", b"##", b"//", b'"', b"'", b"<<E", b"<<-'E'", b"\nE\n",
        b"[", b"]", b'["a"]', b"# escape=`\n", b"#", b"\t", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"1-9",
    ]
)  # fmt: skip
SOURCES = st.one_of(
    st.binary(max_size=300),
    st.lists(TOKENS, max_size=60).map(b"".join),
    st.lists(TOKENS, max_size=60).map(lambda tokens: b"FROM x\n" + b"".join(tokens)),
)


@QUICK
@given(SOURCES)
def test_any_bytes_are_a_dockerfile_or_an_error_with_a_place(source: bytes) -> None:
    lines = source.count(b"\n") + 1
    try:
        file = df.parse(source)
    except errors.DockerfileError as error:
        _check(error, lines)
        return
    for stage in file.stages:
        for instruction in (stage.from_, *stage.instructions):
            assert 1 <= instruction.span.start <= instruction.span.end <= lines
            try:
                df.resolve(instruction, ENV, escape=file.escape, source=file.source)
            except errors.DockerfileError as error:
                _check(error, lines)


def _check(error: errors.DockerfileError, lines: int) -> None:
    str(error).encode()
    assert error.place is not None
    assert 1 <= error.place.line <= error.place.end_line <= lines


@QUICK
@given(st.text(alphabet="aA$_{}:-+?#%/*\\`'\" <\n", max_size=60), st.sampled_from("\\`"))
def test_any_word_expands_or_is_an_error(word: str, escape: str) -> None:
    with contextlib.suppress(errors.DockerfileError):
        assert isinstance(df.expand(word, ENV, escape=escape), str)


@QUICK
@given(
    st.lists(
        st.sampled_from([b"a", b"*", b"**", b"/", b"!", b"[", b"]", b"^", b"-", b"\\", b"\n", b"?", b"\xff", b".."])
    )
)
def test_any_ignore_file_is_rules_or_an_error_with_a_place(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    try:
        rules = df.IgnoreRules.parse(data)
    except errors.DockerfileError as error:
        _check(error, data.count(b"\n") + 1)
        return
    for path in ("a", "a/a", "a/b/c", "-", "\udcff"):
        if not rules.excludes(f"a/{path}"):
            # What is kept below an ignored directory can be reached by a walk.
            assert rules.may_contain("a")


@QUICK
@given(st.binary(max_size=200))
def test_bytes_survive_being_text(data: bytes) -> None:
    assert text.encode(text.decode(data)) == data


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"FROM x\nENV A=" + b"${A:-" * 100_000 + b"\n", "nested too deep"),
        (b"FROM x\nEXPOSE " + b" ".join(b"%d-65535" % n for n in range(1, 3000)) + b"\n", "EXPOSE names more than"),
        (b"FROM x\nARG A=" + b"a" * 100_000 + b"\nENV B=" + b"$A" * 1000 + b"\n", "more than 8 MiB"),
        (b"FROM x\nRUN " + b"--mount=type=cache,target=/a " * 5_000 + b"x\n", ""),
        (b"FROM x\nRUN --mount=" + b"," * 100_000 + b" x\n", "--mount has no option"),
        (b"FROM x\nRUN a " + b"\\\n" * 200_000 + b"x\n", ""),
        (b"FROM x\n" + b"# c\n" * 200_000, ""),
        (b"FROM x\nCMD " + b"[" * 1_000_000 + b"\n", ""),
    ],
    ids=["nesting", "ports", "growth", "flags", "commas", "continuations", "comments", "brackets"],
)
def test_what_could_take_any_amount_of_work_is_bounded(source: bytes, message: str) -> None:
    file = df.parse(source) if message != "--mount has no option" else None
    if file is None:
        with pytest.raises(errors.DockerfileError, match=message):
            df.parse(source)
        return
    found = ""
    env = {"A": "a" * 100_000} if "8 MiB" in message else ENV
    for instruction in file.stages[0].instructions:
        try:
            df.resolve(instruction, env, escape=file.escape, source=file.source)
        except errors.DockerfileError as error:
            found = error.message
    assert message in found
    assert bool(found) == bool(message)
