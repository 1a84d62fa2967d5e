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

from support import api_proxy, costs, e2e, faults, git_server, managed_registries, outside
from support.campaign import (
    api,
    asking,
    auditing,
    breaking,
    driving,
    following,
    grounds,
    moving,
    recovery,
    registrylog,
    undisturbed,
    watching,
    wishes,
)

pytestmark = pytest.mark.skipif(
    not (faults.LONG or "STRATA_BUILDS" in os.environ),
    reason="`make test-campaign` runs it, and `make test-faults` in short",
)
BUILDS = int(os.environ.get("STRATA_BUILDS", "100"))
SEED = int(os.environ.get("STRATA_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
SLOTS = 8
PORT = 18090


@dataclass
class Campaign:
    slots: list[driving.Slot]
    movers: list[moving.Mover]
    seen: watching.Recorder
    breaker: breaking.Breaker
    ground: grounds.Ground
    seconds: float
    verdict: auditing.Verdict


@pytest.fixture(scope="module")
def ground(strata, own_node, home, here, tmp_path_factory) -> Iterator[grounds.Ground]:
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
        mirror = f"http://{strata.where.registry}"
        references = undisturbed.References(Path(tmp_path_factory.mktemp("references")), mirror)
        url, registry = f"{git.url}/app.git", managed_registries.reached(strata, home.name, e2e.REGISTRY)
        yield grounds.Ground(home, server, made, proxy, log, references, repository, url, registry)


@pytest.fixture(scope="module")
def campaign(ground: grounds.Ground, request) -> Campaign:
    print(f"STRATA_SEED={SEED} STRATA_BUILDS={BUILDS}")
    digests = grounds.built_before(ground)
    ground.references.known |= {made: digest for made, digest in digests.items() if made.revision}
    seen = watching.Recorder(ground.server)
    breaker = breaking.Breaker(SEED, ground.operator, ground.proxy, ground.server, seen)
    budget = driving.Budget(BUILDS)
    slots = [driving.Slot(n, SEED, budget, ground.server, seen, ground.git) for n in range(SLOTS)]
    movers = grounds.movers(ground, seen, digests, SEED)
    threads = (seen, breaker, *slots, *movers)
    for thread in threads:
        thread.start()
    try:
        seconds = _until_all_have_ended(slots, movers, breaker)
    finally:
        breaker.stop()
    broken = [thread.failed for thread in threads if thread.failed]
    if broken:
        raise AssertionError(f"{broken}\n{ground.operator.told()}") from broken[0]
    verdict = judged(ground, seen, breaker, slots, movers)
    return Campaign(slots, movers, seen, breaker, ground, seconds, verdict)


def _until_all_have_ended(
    slots: Sequence[driving.Slot], movers: Sequence[moving.Mover], breaker: breaking.Breaker
) -> float:
    """With a word every half minute of how far it is. Nothing moves any more once the builds that were asked for have come
    about; returns the seconds that these took."""
    told = began = time.monotonic()
    seconds = 0.0
    while any(one.runs for one in (*slots, *movers)):
        time.sleep(0.2)
        if not seconds and not any(slot.runs for slot in slots):
            seconds = time.monotonic() - began
            for mover in movers:
                mover.over.set()
        if time.monotonic() - told >= 30:
            told = time.monotonic()
            asked, moves = sum(map(_builds, slots)), sum(mover.moves for mover in movers)
            far = f"{asked} builds asked for, {moves} moves, {len(breaker.made)} faults made"
            print(f"{told - began:.0f} s: {far}", flush=True)
    return seconds


def _builds(slot: driving.Slot) -> int:
    return sum(slot.asked[way] for way in ("created", "edited", "rebuilt", "deleted"))


def judged(
    ground: grounds.Ground,
    seen: watching.Recorder,
    breaker: breaking.Breaker,
    slots: list[driving.Slot],
    movers: list[moving.Mover],
) -> auditing.Verdict:
    """Once all is quiet: what is left over goes within two minutes, for Jobs and ConfigMaps follow the status."""
    askers: list[asking.Asker] = [*slots, *movers]
    final = {name: wish for one in askers for name, wish in one.final.items()}
    for attempt in range(120):
        verdict = auditing.Verdict()
        auditing.leftovers(verdict, ground.server, seen)
        auditing.statuses(verdict, seen, final)
        if not verdict.problems or attempt == 119:
            break
        time.sleep(1)
    seen.stop()
    breaker.read_metrics()
    auditing.lost(verdict, askers)
    auditing.digests(verdict, askers, ground.references)
    following.followed(verdict, seen, movers, ground.references)
    auditing.tags(verdict, ground.home, seen, ground.references.known.values())
    asked = {
        (name, ground.references.known[contents]): count
        for one in askers
        for (name, contents), count in one.asks.items()
    }
    pushed = [put for put in ground.log.puts if not put.name.startswith(grounds.BEFORE)]
    auditing.pushes(verdict, seen, pushed, asked, breaker.deleted)
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
    commits, *moved = campaign.movers
    head += f"; {commits.moves} commits, {sum(one.moves for one in moved)} bases moved"
    askings = [one for slot in campaign.slots for one in slot.askings]
    lines = [head, *recovery.table(breaking.DECK, campaign.breaker.made, askings, campaign.verdict.problems)]
    told = campaign.ground.proxy.injected
    lines += [f"  by the proxy, {what}: {count}" for what, count in sorted(told.items())]
    lines += [f"  {what}: {count}" for what, count in campaign.verdict.facts.items()]
    lines += [f"  {one.name} followed in {one.longest:.0f} s at most" for one in campaign.movers]
    lines.append(f"  starts of the operator: {campaign.ground.operator.starts}")
    lines.append(f"  of these because it had ended by itself: {len(campaign.breaker.ended)}")
    lines += [f"    saying: {words[-1]}" for said in campaign.breaker.ended if (words := said.splitlines())]
    return [*lines, f"  problems: {len(campaign.verdict.problems)}"]
