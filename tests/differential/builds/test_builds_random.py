"""Random Dockerfiles are built alike. STRATA_BUILDS is how many, STRATA_SEED repeats a run; the seed is printed."""

from __future__ import annotations

import os

import pytest

from differential.builds import bench, grammar
from differential.builds.cases import Case

pytestmark = pytest.mark.root


def test_random_dockerfiles_are_built_alike(builders: bench.Bench, everything: bool, seed: int) -> None:
    count = int(os.environ.get("STRATA_BUILDS") or (100 if everything else 5))
    random = grammar.Grammar(seed)
    refused = 0
    for _ in range(count):
        case = random.case()
        found = builders.compare(case)
        refused += found == [REFUSED]
        if found and found != [REFUSED]:
            pytest.fail(f"STRATA_SEED={seed}\n" + "\n".join(found) + "\n" + _shown(case) + builders.said, pytrace=False)
    assert refused < count, "every random Dockerfile was refused"
    print(f"{count} random Dockerfiles built alike, {refused} of them refused by both, STRATA_SEED={seed}")


REFUSED = f"outcome: {bench.OUTCOMES[False, False]}"


def _shown(case: Case) -> str:
    modes = " ".join(f"{entry.name}={entry.mode:04o}" for entry in case.entries[1:])
    return f"{case.entries[0].content.decode()}context: {modes}\n"
