"""Random input from a grammar: Strata and BuildKit's frontend read it alike. STRATA_SEED repeats a run."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import expansion
from strata_builder.dockerfile.faults import Fault
from support import dockerfile_compare, dockerfile_grammar, dockerfile_images, dockerfile_known, dockerfile_reference
from support.dockerfile_compare import Difference

Compare = Callable[[str], list[Difference]]

ARGS = ({}, {}, {"A": "cli", "G": "testbase"}, {"G": "testbase", "H": ""}, {"FOO": "", "TARGETARCH": "own"})
TARGETS = ("", "", "", "one", "two", "base", "nowhere")
# BuildKit makes a regular expression of a rule, and does not escape what stands in a class or after a backslash there:
# \\d is a digit to it, and [*] more than a star. Here, as in Go's filepath.Match, they are the letter d and a star.
_UNLIKE = re.compile(r"\\\w|\[[^]]*[][*?.^\\/]")
PLATFORMS = ("linux/amd64", "linux/amd64", "linux/arm64", "linux/arm/v7")


def _shrunk(text: str, compare: Compare) -> str:
    """The file with every line taken out that does not matter for the difference."""
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        fewer = lines[:number] + lines[number + 1 :]
        if compare("\n".join(fewer)):
            lines, number = fewer, 0
        else:
            number += 1
    return "\n".join(lines)


def _check(text: str, compare: Compare, seed: int) -> None:
    if compare(text):
        shrunk = _shrunk(text, compare)
        said = "\n".join(map(str, compare(shrunk)))
        pytest.fail(f"STRATA_SEED={seed}\n{said}\n{shrunk!r}")


def test_random_dockerfiles_parse_alike(reference: dockerfile_reference.Reference, seed: int, effort: int) -> None:
    grammar = dockerfile_grammar.Grammar(seed)

    def compare(text: str) -> list[Difference]:
        found = dockerfile_compare.parsed(reference, text.encode(), dockerfile_grammar.ENV)
        return dockerfile_known.unexplained(found, text.encode())

    for _ in range(400 * effort):
        _check(grammar.dockerfile(), compare, seed)
    print(f"{400 * effort} random Dockerfiles parsed alike, STRATA_SEED={seed}")


def test_random_dockerfiles_make_the_same_config(
    reference: dockerfile_reference.Reference, seed: int, effort: int
) -> None:
    grammar, rng = dockerfile_grammar.Grammar(seed + 1, odd=0.03), random.Random(seed)
    accepted = 0
    for _ in range(400 * effort):
        question = {"args": rng.choice(ARGS), "target": rng.choice(TARGETS), "platform": rng.choice(PLATFORMS)}

        def compare(text: str, question: dict[str, object] = question) -> list[Difference]:
            found = dockerfile_compare.built(reference, text.encode(), dockerfile_images.ALL, **question)
            return dockerfile_known.unexplained(found, text.encode())

        text = grammar.dockerfile()
        accepted += "image" in dockerfile_compare.reference_build(
            reference, text.encode(), dockerfile_images.ALL, **question
        )
        _check(text, compare, seed)
    print(f"{400 * effort} random Dockerfiles gave the same config or fault ({accepted} a config), STRATA_SEED={seed}")
    assert accepted > 100 * effort


def test_random_words_expand_alike(reference: dockerfile_reference.Reference, seed: int, effort: int) -> None:
    rng = random.Random(seed)
    for _ in range(4 * effort):
        words = [dockerfile_grammar.odd_word(rng) for _ in range(500)]
        escape = rng.choice("\\`")
        answers = reference.expand(words, dockerfile_grammar.ODD_ENV, escape)
        for word, answer in zip(words, answers, strict=True):
            ours = _expanded(word, escape)
            if escape == "`" and "\\" in word and ours is None:
                continue  # a pattern that ends with a backslash that is not the escape character: refused here
            assert ours == answer.get("result" if not answer.get("error") else ""), (word, escape, answer)
    print(f"{2000 * effort} random words expanded alike, STRATA_SEED={seed}")


def _expanded(word: str, escape: str) -> str | None:
    try:
        return expansion.Word(word, dockerfile_grammar.ODD_ENV, escape).expand()
    except Fault:
        return None


def test_random_ignore_files_leave_out_the_same(
    reference: dockerfile_reference.Reference, seed: int, effort: int
) -> None:
    rng = random.Random(seed)
    for _ in range(500 * effort):
        rules, paths = dockerfile_grammar.ignore_file(rng), dockerfile_grammar.paths(rng)
        if _UNLIKE.search(rules.decode()):
            continue
        answer = reference.ask("ignore", Source=rules, Words=paths)
        ours = _ignored(rules, paths)
        # Here every rule of the file must be well formed, elsewhere those that some path is matched with.
        assert ours is None or ours == answer.get("ignored"), (seed, rules, paths, answer)
    print(f"{500 * effort} random ignore files, STRATA_SEED={seed}")


def _ignored(rules: bytes, paths: list[str]) -> list[bool] | None:
    try:
        found = df.IgnoreRules.parse(rules)
    except errors.DockerfileError:
        return None
    return [found.excludes(path) for path in paths]


def test_random_wildcards_match_the_same(reference: dockerfile_reference.Reference, seed: int, effort: int) -> None:
    rng = random.Random(seed)
    for _ in range(500 * effort):
        pattern = "".join(rng.choice("ab*?[]^-\\/.é") for _ in range(rng.randint(1, 6)))
        names = ["".join(rng.choice("ab-]^/.é") for _ in range(rng.randint(0, 4))) for _ in range(8)]
        answer = reference.ask("match", Pattern=pattern, Words=names)
        ours = _matched(pattern, names)
        if ours is None:
            # Go finds a fault in a pattern only where it comes to it; here such a pattern is always an error.
            assert not any(answer.get("matched") or []), (seed, pattern, names, answer)
        else:
            assert ours == answer["matched"], (seed, pattern, names, answer)
    print(f"{500 * effort} random wildcards, STRATA_SEED={seed}")


# What no registry can be reached by is told at once here: a port that is none, and a host that is no name.
_NO_HOST = re.compile(r"_|:0*(?:$|[1-9][0-9]{5,}$|[7-9][0-9]{4}$)")
_NAME_PIECES = (
    *(
        "a",
        "b1",
        "B",
        "0",
        ".",
        "-",
        "_",
        "__",
        "--",
        "/",
        "/",
        ":",
        "@",
        "localhost",
        "LocalHost",
        "host",
        "Host.x",
        ":5000",
    ),
    *("[::1]", "[", "library/", "docker.io/", "index.docker.io/", "latest", "A-z_.9", "é", "sha256:", "0" * 64, ":0"),
    f"@sha256:{'a' * 64}",
)


def test_random_references_are_completed_alike(
    reference: dockerfile_reference.Reference, seed: int, effort: int
) -> None:
    rng, accepted = random.Random(seed), 0
    names = ["".join(rng.choice(_NAME_PIECES) for _ in range(rng.randint(1, 6))) for _ in range(2000 * effort)]
    for name, answer in zip(names, reference.ask("reference", Words=names), strict=True):
        theirs = dockerfile_compare.small_host(answer.get("name", ""))
        if _NO_HOST.search(theirs.partition("/")[0]):
            theirs = ""
        assert dockerfile_compare.completed(name) == theirs, (seed, name, answer)
        accepted += bool(theirs)
    print(f"{2000 * effort} random references ({accepted} of them were some), STRATA_SEED={seed}")
    assert accepted > 50 * effort


def _matched(pattern: str, names: list[str]) -> list[bool] | None:
    try:
        return [df.go_match(pattern, name) for name in names]
    except df.BadPattern:
        return None
