"""What each kind of fault did: how often it was made, to how many builds, and how long until these had come about.

Faults come faster than builds end. So a build counts for every fault that was made while it was under way, and so does what is
wrong with it; and a time until recovery holds what further faults have added.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from support.campaign import problems

HEAD = (
    "fault", "made", "builds under way", *problems.KINDS, "next build after, at most", "all under way after, at most",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """Monotonic seconds. A kill is over at once; what comes of it is recovery."""

    kind: str
    began: float
    over: float


@dataclass(slots=True)
class Asking:
    """A time during which an ImageBuild had not what was asked of it. It still had not at `open`, and was seen to have it at
    `ended`, which is None where that never came about."""

    name: str
    began: float
    open: float
    ended: float | None = None

    def meets(self, fault: Fault) -> bool:
        return self.began <= fault.over and (self.ended is None or self.ended >= fault.began)

    def outlives(self, fault: Fault) -> bool:
        """Whether it surely was under way when the fault was over: what ended just before may be seen just after."""
        return self.began <= fault.over < self.open and self.ended is not None


def table(
    kinds: Iterable[str], made: Sequence[Fault], asked: Sequence[Asking], found: Sequence[problems.Problem]
) -> list[str]:
    """In Markdown: a row for each kind of fault, and one for all of them."""
    rows = [_row(kind, [fault for fault in made if fault.kind == kind], asked, found) for kind in kinds]
    total = collections.Counter(one.kind for one in found)
    times = _times(made, asked)
    rows.append(["all of them", str(len(made)), str(len(asked)), *(str(total[k]) for k in problems.KINDS), *times])
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _row(kind: str, made: Sequence[Fault], asked: Sequence[Asking], found: Sequence[problems.Problem]) -> list[str]:
    hit = [one for one in asked if any(one.meets(fault) for fault in made)]
    names = {one.name for one in hit}
    counts = collections.Counter(one.kind for one in found if one.name in names)
    return [kind, str(len(made)), str(len(hit)), *(str(counts[k]) for k in problems.KINDS), *_times(made, asked)]


def _times(made: Sequence[Fault], asked: Sequence[Asking]) -> tuple[str, str]:
    """The longest that the first, and the last, of the builds under way took from the end of a fault."""
    first, last = 0.0, 0.0
    for fault in made:
        waits = [one.ended - fault.over for one in asked if one.outlives(fault) and one.ended is not None]
        first, last = max([first, min(waits, default=0.0)]), max([last, *waits])
    return f"{first:.0f} s", f"{last:.0f} s"
