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
from support import unprivileged

pytestmark = pytest.mark.root

SAMPLE = ("mounts/bind", "run/whiteouts", "run/hard-links", "stages/copy-keeps-special-bits")
TAKEN = NAMES if "STRATA_EFFORT" in os.environ else [name for name in NAMES if name in SAMPLE]


@pytest.fixture(scope="module")
def table() -> rungtable.Table:
    return rungtable.read()


@pytest.fixture(scope="module")
def cache(strata: Strata) -> Path:
    """A cache of the user without rights."""
    folder = strata.site.folder / "rootless-cache"
    folder.mkdir()
    os.chown(folder, unprivileged.USER, unprivileged.USER)
    return folder


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Counts what became of the cases, and tells it at the end of a run."""
    counted: Counter[str] = Counter()
    yield counted
    told = ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
    print(f"\nrungs: of {len(TAKEN)} cases {told}")


@pytest.mark.parametrize("name", TAKEN)
def test_a_case_gives_the_same_image_in_every_rung(
    name: str, strata: Strata, cache: Path, table: rungtable.Table, tally: Counter[str]
) -> None:
    case = cases.parse(name, (CORPUS / f"{name}.txt").read_text(errors="surrogateescape"))
    first = rungs.as_root(strata, case)
    others = (rungs.rootless(strata.site, case, cache), rungs.in_pod(strata.site, case))
    wrong = []
    for other in others:
        known = table.get((name, other.rung))
        found = "" if other.why else rungtable.verdict(first, other, known)
        state = _state(first, other, found, known)
        tally[f"{other.rung} {state}"] += 1
        wrong += [found] * bool(found)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def _state(first: rungs.Outcome, other: rungs.Outcome, wrong: str, known: rungtable.Known | None) -> str:
    if other.why:
        return "not asked for"
    if wrong:
        return "wrong"
    return "known to differ" if known else "refused alike" if first.refused else "the same"


def test_the_table_explains_cases_that_exist(table: rungtable.Table) -> None:
    assert sorted({case for case, _ in table} - set(NAMES)) == []
