"""The operator killed at moments that nobody chose, while builds run and are edited: what must hold holds at any moment."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass

import pytest

from support import costs, e2e, faults

KILLS = int(os.environ.get("STRATA_E2E_KILLS", "40" if faults.LONG else "4"))
SEED = int(os.environ.get("STRATA_E2E_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
RUNS = "RUN echo {0} > /ran\n"
NAMES = ("copied", "ran", "mixed")
TAGS = ["latest", "n{build}"]


@dataclass(frozen=True)
class Wish:
    """What was asked for last: the text in the image's label, and the tags as the registry had them then."""

    version: int
    tags: e2e.Body


def build(name: str, version: int) -> e2e.Body:
    steps = "COPY file /file\n" if name != "ran" else ""
    steps += RUNS.format(version) if name != "copied" else ""
    dockerfile = f"FROM busybox:1.36\nLABEL version={version}\n{steps}"
    output = {"registry": {"name": e2e.REGISTRY}, "tags": TAGS}
    return e2e.image_build(name, dockerfile, output=output, source={"inline": {"file": str(version)}})


def kill_once(home: e2e.Namespace, operator: faults.Operator, chance: random.Random, version: int) -> dict[str, Wish]:
    """Ask for something new, kill within the time that a build takes, with or without an edit before it is back."""
    home.apply(*(build(name, version) for name in NAMES))
    time.sleep(chance.uniform(0, 8))  # seconds: some kills come when all is done, too
    edited = [name for name in NAMES if chance.random() < 0.4]
    with operator.frozen():
        tags = home.tags(*NAMES)
        if edited:
            home.apply(*(build(name, version + 1) for name in edited))
    return {name: Wish(version + (name in edited), tags[name]) for name in NAMES}


def settle(home: e2e.Namespace, name: str, wish: Wish) -> None:
    """What was asked for last is there, and nothing was written under another number since."""
    status = home.wait(name, seconds=180)
    image = {"digest": status["digest"], "labels": {"version": str(wish.version)}}
    there = home.tags(name)[name]
    written = {"latest": image, f"n{status['lastSuccess']['number']}": image}
    assert status["tags"] == list(written)
    assert there == wish.tags | written
    numbers = [b["number"] for b in status["builds"]]
    assert numbers == sorted(set(numbers), reverse=True)
    assert {b["result"] for b in status["builds"]} <= {"Succeeded", "Superseded"}


def test_a_sweep_of_kills_leaves_what_was_asked_for_last(home, operator, jobs, request):
    costs.report(request, f"{KILLS} kills of the operator at moments of STRATA_E2E_SEED={SEED}")
    chance = random.Random(SEED)
    for kill in range(KILLS):
        wishes = kill_once(home, operator, chance, version=2 * kill + 1)
        for name, wish in wishes.items():
            settle(home, name, wish)
    made = {key: len(uids) for name in NAMES for key, uids in jobs.attempts(name).items()}
    assert {key: count for key, count in made.items() if count > 1} == {}
    assert {attempt for _, _, attempt in made} == {1}, "a killed operator costs no attempt"


@pytest.fixture(autouse=True)
def seed_in_the_output() -> None:
    """A failure shows how to have it again."""
    print(f"STRATA_E2E_SEED={SEED} STRATA_E2E_KILLS={KILLS}")
