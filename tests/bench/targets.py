"""What Strata is to reach beside its peers, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench import costs, report

PEERS = ("buildkit", "buildkit-fresh", "buildah")
Pick = Callable[[Sequence[costs.Cost]], float]


@dataclass(frozen=True, slots=True)
class Target:
    """Of scenario `key`, `ours` is to take at most `share` of what the best of `peers` does."""

    key: str
    text: str
    share: float
    peers: tuple[str, ...] = ("buildkit",)
    ours: str = report.OURS
    measure: Pick = report.wall


TARGETS = (
    Target("a", "1/6 of BuildKit's wall", 1 / 6),
    Target("a", "1/5 of BuildKit's CPU", 1 / 5, measure=report.cpu),
    Target("b", "1/7 of the best peer's wall", 1 / 7, PEERS),
    Target("c", "a warm BuildKit's wall, itself knowing only the registry's cache", 1),
    Target("d", "a warm BuildKit's wall, itself knowing only the registry's cache", 1),
    Target("e", "0.6 of BuildKit's wall, whose daemon has the base", 0.6),
    Target("e", "0.6 of a fresh BuildKit's wall", 0.6, ("buildkit-fresh",)),
    Target("f", "a warm BuildKit's wall, with what one machine keeps", 1, ours="strata-warm"),
    Target("f", "a fresh BuildKit's wall, knowing only the registry's cache", 1, ("buildkit-fresh",)),
    Target("g", "BuildKit's wall", 1),
    Target("h1", "1/3 of the best peer's wall", 1 / 3, PEERS),
    Target("h2", "twice the wall of BuildKit with COPY --link, with a plain COPY", 2),
    # Set after a first measurement, each between what the peers take and what the machine allows.
    Target("i", "1/10 of the best peer's wall", 1 / 10, PEERS),
    Target("j2", "1/4 of the best peer's wall", 1 / 4, PEERS),
    Target("k", "the best peer's wall", 1, PEERS),
    Target("l", "a warm BuildKit's wall, itself knowing only the registry's cache", 1),
    Target("l", "1/3 of a fresh BuildKit's wall", 1 / 3, ("buildkit-fresh",)),
    Target("m", "1/6 of BuildKit's wall", 1 / 6),
    Target("n", "1/7 of BuildKit's wall", 1 / 7),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`found` and `limit` are seconds. `counts`: our layers are not too large beside that peer's."""

    target: Target
    found: float
    limit: float
    peer: str
    counts: bool

    @property
    def met(self) -> bool:
        return self.counts and self.found <= self.limit

    @property
    def text(self) -> str:
        """Met or missed, by how much."""
        if not self.counts:
            return "**does not count**: our layers are too large"
        ratio = self.found / self.limit
        return f"met: {ratio:.2f} of the limit" if self.met else f"**missed**: {ratio:.2f} × the limit"


def verdicts(made: report.MADE) -> Iterator[Verdict]:
    """Of every target whose scenario and builders were measured."""
    for target in TARGETS:
        rounds = made[target.key].rounds if target.key in made else {}
        peers = [name for name in target.peers if name in rounds]
        if peers and target.ours in rounds:
            best = min(peers, key=lambda name: target.measure(rounds[name]))
            counts = report.counts(rounds[target.ours], rounds[best])
            limit = target.share * target.measure(rounds[best])
            yield Verdict(target, target.measure(rounds[target.ours]), limit, best, counts)


def table(made: report.MADE) -> str:
    """The verdicts in Markdown."""
    lines = [report.row(["", "target", "limit s", "found s", ""]), report.row(["---", "---", "--:", "--:", "---"])]
    for one in verdicts(made):
        text = f"{one.target.text} ({one.peer}; ours: {one.target.ours})"
        cells = [f"**{one.target.key}**", text, f"{one.limit:.2f}", f"{one.found:.2f}", one.text]
        lines.append(report.row(cells))
    return "\n".join(lines) + "\n"
