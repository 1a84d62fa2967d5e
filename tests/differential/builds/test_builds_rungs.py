"""The corpus gives one digest in every rung of isolation, save for what rungs.toml says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.builds import cases, rungs, rungtable
from differential.builds.strata import Strata
from differential.builds.test_builds_corpus import CORPUS, NAMES
from support import bundles

pytestmark = pytest.mark.root

SAMPLE = ("mounts/bind", "run/whiteouts", "run/hard-links", "stages/copy-keeps-special-bits")
EVERY = 4
"""Of how many cases one is built on every rung of a pod, also where no step runs."""
TAKEN = NAMES if "STRATA_EFFORT" in os.environ else [name for name in NAMES if name in SAMPLE]


@pytest.fixture(scope="module")
def table() -> rungtable.Table:
    return rungtable.read()


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Counts what became of the cases, and tells it at the end of a run."""
    counted: Counter[str] = Counter()
    yield counted
    told = ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
    print(f"\nrungs: of {len(TAKEN)} cases {told}")


@pytest.mark.parametrize("name", TAKEN)
def test_a_case_gives_the_same_image_in_every_rung(
    name: str,
    strata: Strata,
    rootless_cache: Path,
    runtime: bundles.Bundles,
    table: rungtable.Table,
    tally: Counter[str],
) -> None:
    case = cases.parse(name, (CORPUS / f"{name}.txt").read_text(errors="surrogateescape"))
    first = rungs.as_root(strata, case)
    in_pods = list(rungs.in_pods(strata.site, runtime, case, every=NAMES.index(name) % EVERY == 0))
    asked = bool(in_pods)
    wrong = ["rungs.toml is wrong on whether a pod can be asked"] if asked == (name in rungtable.unasked()) else []
    for other in (rungs.rootless(strata.site, case, rootless_cache), *in_pods):
        known = table.get((name, other.rung))
        found = rungtable.verdict(first, other, known)
        tally[f"{other.rung} {_state(first, found, known)}"] += 1
        wrong += [found] * bool(found)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def _state(first: rungs.Outcome, wrong: str, known: rungtable.Known | None) -> str:
    if wrong:
        return "wrong"
    return "known to differ" if known else "refused alike" if first.refused else "the same"


def test_the_table_explains_cases_that_exist(table: rungtable.Table) -> None:
    assert sorted(({case for case, _ in table} | rungtable.unasked()) - set(NAMES)) == []


def test_the_document_lists_the_exceptions_that_cases_have(table: rungtable.Table) -> None:
    listed = rungtable.documented(rungtable.DOCUMENT.read_text())
    assert listed
    assert sorted(listed) == sorted({known.exception for known in table.values()})
