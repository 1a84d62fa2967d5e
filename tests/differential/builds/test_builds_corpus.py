"""Strata and BuildKit build the corpus alike, save for what explained.toml says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.builds import bench, cases, explained

pytestmark = pytest.mark.root

CORPUS = Path(__file__).parents[1] / "corpus"
NAMES = sorted(path.relative_to(CORPUS).as_posix().removesuffix(".txt") for path in CORPUS.rglob("*.txt"))
SAMPLED = 9
"""Of how many cases one is in the sample of `make test`."""
TAKEN = NAMES if "STRATA_EFFORT" in os.environ else NAMES[::SAMPLED]


@pytest.fixture(scope="module")
def table() -> dict[str, explained.Explanation]:
    return explained.read()


@pytest.fixture(scope="module")
def tally(builders: bench.Bench) -> Iterator[Counter[str]]:
    """Counts the verdicts, and tells them at the end of a run."""
    counted: Counter[str] = Counter()
    yield counted
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in builders.seconds.items())
    print(
        f"\ncorpus: {counted['identical']} of {counted.total()} identical, {counted['decision']} explained by a "
        f"decision, {counted['fault']} by a known fault, {counted['unexplained']} unexplained ({took})"
    )


@pytest.mark.parametrize("name", TAKEN)
def test_a_case_is_built_alike_or_its_difference_is_explained(
    name: str, builders: bench.Bench, table: dict[str, explained.Explanation], tally: Counter[str]
) -> None:
    found = builders.compare(cases.parse(name, (CORPUS / f"{name}.txt").read_text(errors="surrogateescape")))
    explanation = table.get(name)
    wrong = explained.verdict(found, explanation)
    tally["unexplained" if wrong else explanation.kind if explanation else "identical"] += 1
    if wrong:
        pytest.fail(f"{name}\n{wrong}\n{builders.said}", pytrace=False)


def test_the_table_explains_cases_that_exist(table: dict[str, explained.Explanation]) -> None:
    assert sorted(table.keys() - set(NAMES)) == []
