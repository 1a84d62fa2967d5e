"""The plain-text tables: what Strata makes of each row is what BuildKit's packages make of it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import signals
from strata_builder.dockerfile.faults import Fault
from support import dockerfile_compare, dockerfile_images, dockerfile_known
from support.dockerfile_reference import Reference

TABLES = pathlib.Path(__file__).parent / "tables"
GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "dockerfile"
EXPANSIONS = pathlib.Path(__file__).parents[2] / "unit" / "dockerfile" / "expansions.txt"
ENV = {"A": "arg", "M": "0640", "V": "1", "NAME": "name"}
WORDS = {
    "A": "arg", "E": "", "V": "foo.tar.gz", "P": "/a/b/c.txt", "S": "two words", "N": "1", "STAR": "a*b*c",
    "UNI": "zwölf", "NEEDLE": "\\*", "LINES": "one\ntwo",
}  # fmt: skip


def _rows(name: str) -> list[str]:
    lines = (TABLES / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("##")]


def _sections(name: str, mark: str) -> list[str]:
    text = (TABLES / name).read_bytes().decode()
    return [section for section in text.split(f"\n{mark}")[1:] if section]


def _dockerfiles() -> Iterator[tuple[str, bytes]]:
    for section in _sections("dockerfiles.txt", "=== "):
        name, _, source = section.partition("\n")
        yield name, source.replace("␍", "\r").replace("␉", "\t").replace("␠", " ").replace("␣", "\ufeff").encode()
    for path in sorted(GOLDEN.glob("*/Dockerfile")):
        yield path.parent.name, path.read_bytes()


DOCKERFILES = dict(_dockerfiles())


@pytest.mark.parametrize("source", DOCKERFILES.values(), ids=DOCKERFILES.keys())
def test_a_dockerfile_parses_as_buildkit_parses_it(reference: Reference, source: bytes) -> None:
    assert dockerfile_known.unexplained(dockerfile_compare.parsed(reference, source, ENV), source) == []


@pytest.mark.parametrize("args", [{}, {"G": "testbase", "V": "cli", "EMPTY": ""}], ids=["plain", "build-args"])
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
@pytest.mark.parametrize("source", DOCKERFILES.values(), ids=DOCKERFILES.keys())
def test_a_dockerfile_gives_the_config_that_buildkit_gives_it(
    reference: Reference, source: bytes, platform: str, args: dict[str, str]
) -> None:
    question = {"args": args, "platform": platform, "labels": {"given": "by the build"}}
    found = dockerfile_compare.built(reference, source, dockerfile_images.ALL, **question)
    assert dockerfile_known.unexplained(found, source) == []


def _unescaped(text: str) -> bytes:
    return text.replace("\\r", "\r").replace("\\t", "\t").replace("\\ufeff", "\ufeff").encode()


@pytest.mark.parametrize("section", _sections("ignore.txt", "--- rules\n"))
def test_an_ignore_file_leaves_out_what_buildkit_leaves_out(reference: Reference, section: str) -> None:
    rules, _, paths = section.partition("\n--- paths\n")
    asked = paths.split()
    answer = reference.ask("ignore", Source=_unescaped(rules + "\n"), Words=asked)
    try:
        parsed = df.IgnoreRules.parse(_unescaped(rules + "\n"))
    except errors.DockerfileError:
        assert "error" in answer, answer
    else:
        assert [parsed.excludes(path) for path in asked] == answer["ignored"]


@pytest.mark.parametrize("value", _rows("mounts.txt"))
def test_a_mount_means_what_buildkit_takes_it_for(reference: Reference, value: str) -> None:
    source = f"FROM scratch AS one\nFROM scratch\nWORKDIR /w\nRUN --mount='{value}' x\n".encode()
    found = dockerfile_compare.parsed(reference, source, ENV)
    found += dockerfile_compare.built(reference, source, dockerfile_images.ALL)
    assert dockerfile_known.unexplained(found, source) == []


def test_the_table_of_expansions_is_what_buildkit_does(reference: Reference) -> None:
    rows = [line for line in EXPANSIONS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("##")]
    pairs = [(word.strip(), expected.strip()) for word, _, expected in (row.rpartition(" | ") for row in rows)]
    answers = reference.expand([word for word, _ in pairs], WORDS)
    for (word, expected), answer in zip(pairs, answers, strict=True):
        if expected.startswith("error: "):
            assert answer.get("error"), word
        else:
            assert answer.get("result") == expected.replace("<empty>", "").replace("<nl>", "\n"), (word, answer)


def test_signals_are_those_that_buildkit_knows(reference: Reference) -> None:
    asked = [line.split()[0] for line in _rows("signals.txt")]
    for name, known in zip(asked, reference.ask("signal", Words=asked), strict=True):
        try:
            assert signals.check(name) == name
            assert known, name
        except Fault:
            assert not known, name


def test_references_are_completed_as_buildkit_completes_them(reference: Reference) -> None:
    asked = _rows("references.txt")
    for name, answer in zip(asked, reference.ask("reference", Words=asked), strict=True):
        assert dockerfile_compare.completed(name) == dockerfile_compare.small_host(answer.get("name", "")), (
            name,
            answer,
        )
