"""Comparing what the layers of two images do, one by one, where their histories are in other words. Pure.

A WORKDIR counts to the step after it: some builders make its directory only then.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import replace

from differential.builds import compare
from differential.builds.compare import Effects
from differential.builds.images import Entry, Image

_NOTHING = Effects({}, frozenset(), frozenset())


def differences(mine: Image, theirs: Image, told: Collection[str], left: Collection[str]) -> list[str]:
    """One line for each path that a layer adds, changes or removes otherwise than its counterpart; layers that change
    something are counted, in their order. Not compared are times, the paths `told`, and those that `theirs` alone has of
    `left`."""
    pairs = itertools.zip_longest(_effects(mine, ()), _effects(theirs, left), fillvalue=_NOTHING)
    compared = (_compared(number, *pair, left) for number, pair in enumerate(pairs, 1))
    return [line for path, line in itertools.chain.from_iterable(compared) if path not in told]


def _effects(image: Image, left: Collection[str]) -> Iterator[Effects]:
    """Of each layer; without times, and the modes without the file's type, which some builders repeat there."""
    layers = [
        {path: replace(entry, mode=entry.mode & 0o7777, time=0) for path, entry in layer.items()}
        for layer in image.layers
    ]
    waiting = _NOTHING
    for step in compare.steps(replace(image, layers=layers)):
        if step.effects is None:
            continue
        effects = _joined(waiting, step.effects)
        if step.text.startswith("WORKDIR "):
            waiting = effects
        elif (effects.entries.keys() - left) or effects.removed:
            waiting = _NOTHING
            yield effects
    if waiting.entries:
        yield waiting


def _joined(one: Effects, other: Effects) -> Effects:
    return Effects({**one.entries, **other.entries}, one.removed | other.removed, frozenset())


def _compared(number: int, mine: Effects, theirs: Effects, left: Collection[str]) -> Iterator[tuple[str, str]]:
    """(path, line) of what differs."""
    for path in sorted(mine.entries.keys() | (theirs.entries.keys() - left)):
        one, other = _shown(mine.entries.get(path)), _shown(theirs.entries.get(path))
        if one != other:
            yield path, f"layer {number}: {path}: {one}, buildah {other}"
    for path in sorted(mine.removed ^ theirs.removed):
        yield path, f"layer {number}: {path}: removed by {'Strata' if path in mine.removed else 'buildah'} only"


def _shown(entry: Entry | None) -> str:
    if entry is None:
        return "absent"
    more = [entry.content[:12]] + [f"{name}={value!r}" for name, value in sorted(entry.xattrs.items())]
    more += [f"{entry.device[0]}:{entry.device[1]}"] if entry.device != (0, 0) else []
    return " ".join(filter(None, [compare.shown(entry), *more]))
