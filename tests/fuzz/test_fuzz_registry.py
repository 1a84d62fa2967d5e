"""A client of registries that lie: errors of our own, an end, and no login for another host. STRATA_SEED repeats a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fuzz import campaign, clients
from support.liar import Liar


def test_no_answer_of_a_registry_upsets_its_client(seed: int, effort: int, tell: Callable[[str, int], None]) -> None:
    with Liar() as registry, Liar() as stranger:
        tried = clients.target(clients.Client(registry, stranger))
        faults = campaign.run(tried, seed, tried.runs * effort)
    tell(tried.name, tried.runs * effort)
    if faults:
        pytest.fail(f"STRATA_SEED={seed}\n" + "\n".join(map(str, faults)), pytrace=False)
