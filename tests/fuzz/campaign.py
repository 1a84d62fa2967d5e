"""Many inputs for one target, from one seed: the faults found, each with the smallest input that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from fuzz import mutation
from fuzz.target import Target, bounded, fault

_STRETCHES: Final = 40  # every so many inputs one is stretched
_TRIES: Final = 2000  # runs that making an input smaller may take


@dataclass(frozen=True, slots=True)
class Fault:
    what: str
    data: bytes

    def __str__(self) -> str:
        shown = repr(self.data) if len(self.data) <= 2000 else f"{self.data[:2000]!r}... ({len(self.data)} bytes)"
        return f"{self.what}\n  {shown}"


def run(target: Target, seed: int, count: int) -> list[Fault]:
    """One fault a place in the code. The first inputs are those to be tried once, and the seeds themselves."""
    found: dict[str, Fault] = {}
    with bounded():
        for data in inputs(target, Random(f"{seed} {target.name}"), count):
            what = fault(target, data)
            if what and _kind(what) not in found:
                found[_kind(what)] = Fault(what, _smaller(target, data, _kind(what)))
    return list(found.values())


def inputs(target: Target, rng: Random, count: int) -> Iterator[bytes]:
    known, first = target.seeds, (*target.once, *target.seeds)
    for number in range(count):
        if number < len(first):
            yield first[number]
        elif number % _STRETCHES == 0 and target.stretched:
            yield mutation.stretched(rng, rng.choice(known), target.pieces, target.stretched)
        else:
            yield target.change(rng, rng.choice(known), target.pieces)


def _kind(what: str) -> str:
    return what.partition(": ")[0]


def _smaller(target: Target, data: bytes, kind: str) -> bytes:
    """`data` without all that the fault does not need. What is slow is left as it is: each try would be, too."""
    if kind.startswith("TooSlow"):
        return data
    return shrunk(data, lambda less: _kind(fault(target, less)) == kind)


def shrunk(data: bytes, still: Callable[[bytes], bool]) -> bytes:
    """The shortest rest of `data`, by taking pieces out, of which `still` holds."""
    tries, width = 0, max(1, len(data) // 2)
    while width and tries < _TRIES:
        at = 0
        while at < len(data) and tries < _TRIES:
            less = data[:at] + data[at + width :]
            tries += 1
            if still(less):
                data = less
            else:
                at += width
        width //= 2
    return data
