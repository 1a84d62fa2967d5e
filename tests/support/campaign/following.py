"""The verdict on what follows by itself: it has come to where the last move went, and built nothing for nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from support.campaign import api, auditing, moving, undisturbed, watching, wishes
from support.campaign.problems import DIGEST, LOST, STATUS


def followed(
    verdict: auditing.Verdict,
    seen: watching.Recorder,
    movers: Sequence[moving.Mover],
    references: undisturbed.References,
) -> None:
    """Once the references of all that was asked for are known."""
    builds = 0
    for mover in movers:
        for wish in (one for one in mover.final.values() if one.follows):
            history = seen.history(wish.name)
            builds += len(history)
            arrived(verdict, wish, seen.bodies.get(wish.name, {}).get("status", {}), references)
            asked = sum(count for (name, _), count in mover.asks.items() if name == wish.name)
            only_for_moves(verdict, wish, history, asked)
    verdict.facts["builds by triggers alone"] = builds


def arrived(verdict: auditing.Verdict, wish: wishes.Wish, status: api.Body, references: undisturbed.References) -> None:
    """The image is that of the last commit, or made from what its base stands for."""
    name, base = wish.name, wish.contents.base
    expected = references.known[wish.contents]
    verdict.require(status.get("digest") == expected, DIGEST, f"{name}: {status}, expected {expected}", name)
    if base is None:
        there = status.get("source", {}).get("commit")
        verdict.require(there == wish.commit, LOST, f"{name} is at {there}, the branch at {wish.commit}", name)
    else:
        used = [one["digest"] for one in status.get("baseImages", ())]
        stands = references.known[base.contents]
        verdict.require(used == [stands], LOST, f"{name} is made from {used}, {base.name} stands for {stands}", name)


def only_for_moves(verdict: auditing.Verdict, wish: wishes.Wish, history: Sequence[api.Body], moves: int) -> None:
    """Every number once, each a success; no two in a row are of the same, and no more than moves, the first among them.

    Nobody asks otherwise: no spec changes, so that no build is superseded; a killed attempt has the number of its build.
    """
    name, what = wish.name, "digest" if wish.contents.base else "commit"
    numbers = [build["number"] for build in history]
    verdict.require(numbers == [*range(1, len(numbers) + 1)], STATUS, f"{name}: numbers {numbers}", name)
    fine = all(build["result"] == "Succeeded" for build in history)
    verdict.require(fine, STATUS, f"{name} was not always built: {history}", name)
    for one, other in _again(history, what):
        verdict.require(False, STATUS, f"{name} was built for nothing: {other} after {one}", name)
    verdict.require(len(history) <= moves, STATUS, f"{name}: {len(history)} builds, {moves} asked for", name)


def _again(history: Sequence[api.Body], what: str) -> Iterable[tuple[api.Body, api.Body]]:
    return (pair for pair in itertools.pairwise(history) if pair[0].get(what) == pair[1].get(what))
