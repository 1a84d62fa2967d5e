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
            moves = [one for one in mover.wanted if one.name == wish.name]
            order = [references.known[one.contents] if one.contents.base else one.commit for one in moves]
            only_for_moves(verdict, wish, history, order)
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


def only_for_moves(
    verdict: auditing.Verdict, wish: wishes.Wish, history: Sequence[api.Body], order: Sequence[str]
) -> None:
    """Every number once, each a success; they are of what was there, in this `order`, and no two in a row of the same.

    Nobody asks otherwise: no spec changes, so that no build is superseded; a killed attempt has the number of its build.
    """
    name, what = wish.name, "digest" if wish.contents.base else "commit"
    numbers = [build["number"] for build in history]
    verdict.require(numbers == [*range(1, len(numbers) + 1)], STATUS, f"{name}: numbers {numbers}", name)
    fine = all(build["result"] == "Succeeded" for build in history)
    verdict.require(fine, STATUS, f"{name} was not always built: {history}", name)
    made = [str(build.get(what)) for build in history]
    for one, other in itertools.pairwise(history):
        again = one.get(what) == other.get(what)
        verdict.require(not again, STATUS, f"{name} was built for nothing: {other} after {one}", name)
    verdict.require(in_order(made, order), STATUS, f"{name} was built of {made}, what moved was {list(order)}", name)


def in_order(made: Iterable[str], order: Iterable[str]) -> bool:
    """Whether `made` is `order` with some left out: never more, nothing older after something newer."""
    left = iter(order)
    return all(any(one == other for other in left) for one in made)
