"""A campaign of faults: builds are asked for while everything under them is killed, cut, refused and delayed at random.

STRATA_BUILDS says how many (docs/faults.md has the long run), STRATA_SEED repeats what is random.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import api_proxy, costs, e2e, faults, git_server, outside
from support.campaign import api, auditing, breaking, driving, recovery, registrylog, watching, wishes

pytestmark = pytest.mark.skipif(
    not (faults.LONG or "STRATA_BUILDS" in os.environ),
    reason="`make test-campaign` runs it, and `make test-faults` in short",
)
BUILDS = int(os.environ.get("STRATA_BUILDS", "100"))
SEED = int(os.environ.get("STRATA_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
SLOTS = 8
PORT = 18090
BEFORE = "before-"  # how ImageBuilds are called that were built before any fault


@dataclass
class Ground:
    """What a campaign stands on."""

    home: e2e.Namespace
    server: api.Api
    operator: outside.Operator
    proxy: api_proxy.Proxy
    log: registrylog.Log
    references: auditing.References
    git: str


@dataclass
class Campaign:
    slots: list[driving.Slot]
    seen: watching.Recorder
    breaker: breaking.Breaker
    ground: Ground
    seconds: float
    verdict: auditing.Verdict


@pytest.fixture(scope="module")
def ground(strata, own_node, home, here, tmp_path_factory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("campaign")
    server = api.Api.of(strata.where, home.name)
    log = registrylog.Log(strata.where.state / "pods", f"{home.name}_strata-{e2e.REGISTRY}-")
    repository = git_server.Repository.make(folder / "repositories")
    for version in range(wishes.BRANCHES):
        contents = wishes.contents("git", 0, version)
        files = {"Dockerfile": contents.dockerfile, **contents.files}
        repository.commit(dict(files), branch=wishes.branch(version))
    with contextlib.ExitStack() as stack:
        git = stack.enter_context(git_server.HttpServer(folder / "repositories", host=here))
        proxy = api_proxy.Proxy(
            f"https://{strata.where.node_ip}:6443", tls=server.server.tls, seed=SEED, interfere=server.touch, host=here
        )
        stack.enter_context(proxy.serving())
        config = proxy.kubeconfig(folder, outside.token(strata))
        made = outside.Operator(strata.where, folder, config, outside.settings(strata), PORT)
        stack.enter_context(outside.instead(strata))
        stack.callback(made.close)
        log.start()
        stack.callback(log.stop)
        made.start()
        references = auditing.References(Path(tmp_path_factory.mktemp("references")), f"http://{strata.where.registry}")
        yield Ground(home, server, made, proxy, log, references, f"{git.url}/app.git")


def undisturbed(ground: Ground) -> None:
    """The digests of git's contents before any fault. Nobody looks yet: neither pushes nor successes count later."""
    for version in range(wishes.BRANCHES):
        wish = wishes.Wish(f"{BEFORE}{version}", wishes.contents("git", 0, version))
        ground.references.known[wish.contents] = ground.home.build(wish.body(ground.git))["digest"]
        ground.home("delete", "imagebuild", wish.name, "--wait=true")
    ground.operator.end()
    ground.operator.start()


@pytest.fixture(scope="module")
def campaign(ground: Ground, request) -> Campaign:
    print(f"STRATA_SEED={SEED} STRATA_BUILDS={BUILDS}")
    undisturbed(ground)
    seen = watching.Recorder(ground.server)
    breaker = breaking.Breaker(SEED, ground.operator, ground.proxy, ground.server, seen)
    budget = driving.Budget(BUILDS)
    slots = [driving.Slot(n, SEED, budget, ground.server, seen, ground.git) for n in range(SLOTS)]
    began = time.monotonic()
    for thread in (seen, breaker, *slots):
        thread.start()
    try:
        _until_all_have_ended(slots, breaker)
    finally:
        breaker.stop()
    broken = [thread.failed for thread in (seen, breaker, *slots) if thread.failed]
    if broken:
        raise AssertionError(f"{broken}\n{ground.operator.told()}") from broken[0]
    seconds = time.monotonic() - began
    final = {name: wish for slot in slots for name, wish in slot.final.items()}
    verdict = judged(ground, seen, breaker, slots, final)
    return Campaign(slots, seen, breaker, ground, seconds, verdict)


def _until_all_have_ended(slots: Sequence[driving.Slot], breaker: breaking.Breaker) -> None:
    """With a word every half minute of how far it is."""
    told = began = time.monotonic()
    while any(slot.runs for slot in slots):
        time.sleep(0.2)
        if time.monotonic() - told >= 30:
            told = time.monotonic()
            builds = sum(map(_builds, slots))
            print(f"{told - began:.0f} s: {builds} builds asked for, {len(breaker.made)} faults made", flush=True)


def _builds(slot: driving.Slot) -> int:
    return sum(slot.asked[way] for way in ("created", "edited", "rebuilt", "deleted"))


def judged(
    ground: Ground,
    seen: watching.Recorder,
    breaker: breaking.Breaker,
    slots: list[driving.Slot],
    final: dict[str, wishes.Wish],
) -> auditing.Verdict:
    """Once all is quiet: what is left over goes within two minutes, for Jobs and ConfigMaps follow the status."""
    for attempt in range(120):
        verdict = auditing.Verdict()
        auditing.leftovers(verdict, ground.server, seen)
        auditing.statuses(verdict, seen, final)
        if not verdict.problems or attempt == 119:
            break
        time.sleep(1)
    seen.stop()
    breaker.read_metrics()
    auditing.lost(verdict, slots)
    auditing.digests(verdict, slots, ground.references)
    auditing.tags(verdict, ground.home, seen, ground.references.known.values())
    asked = {
        (name, ground.references.known[contents]): count
        for slot in slots
        for (name, contents), count in slot.asks.items()
    }
    pushed = [put for put in ground.log.puts if not put.name.startswith(BEFORE)]
    auditing.pushes(verdict, seen, pushed, asked)
    auditing.counted(verdict, seen, breaker.told)
    return verdict


def test_everything_that_was_asked_for_is_there_once_and_right(campaign, request):
    for line in table(campaign):
        costs.report(request, line)
    assert not campaign.verdict.problems, "\n".join([*map(str, campaign.verdict.problems), *table(campaign)])


def test_every_kind_of_fault_was_made(campaign):
    possible = breaking.DECK.keys() if outside.shim() else breaking.DECK.keys() - {"clock set"}
    missing = possible - {fault.kind for fault in campaign.breaker.made}
    assert BUILDS < 200 or not missing


def test_the_log_of_the_registry_was_read(campaign):
    assert campaign.ground.log.failed is None
    assert campaign.verdict.facts["image manifests put"] >= len(campaign.seen.bodies)


def table(campaign: Campaign) -> list[str]:
    """What is shown after the tests."""
    asked = collections.Counter[str]()
    for slot in campaign.slots:
        asked.update(slot.asked)
    builds = sum(map(_builds, campaign.slots))
    head = f"{builds} builds asked for in {campaign.seconds:.0f} s, {60 * builds / campaign.seconds:.1f} a minute, "
    head += f"STRATA_SEED={SEED}: " + ", ".join(f"{count} {way}" for way, count in asked.items())
    askings = [one for slot in campaign.slots for one in slot.askings]
    lines = [head, *recovery.table(breaking.DECK, campaign.breaker.made, askings, campaign.verdict.problems)]
    told = campaign.ground.proxy.injected
    lines += [f"  by the proxy, {what}: {count}" for what, count in sorted(told.items())]
    lines += [f"  {what}: {count}" for what, count in campaign.verdict.facts.items()]
    lines.append(f"  starts of the operator: {campaign.ground.operator.starts}")
    lines.append(f"  of these because it had ended by itself: {len(campaign.breaker.ended)}")
    return [*lines, f"  problems: {len(campaign.verdict.problems)}"]
