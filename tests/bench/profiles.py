"""Where a build's time goes: `strata build` looked at a thousand times a second by py-spy, by what its code is for."""

from __future__ import annotations

import collections
import contextlib
import re
import shutil
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench import builders, costs, lab, report, scenarios

Profile = dict[str, float]
"""Of each phase the share (0 to 1) of the moments in which a thread of the builder itself was at work."""

#: What a file of the builder is for, by how its path begins; the innermost one that is known says it.
PHASES: Final = {
    "reading and hashing the context": (
        *("strata_builder/context", "strata_builder/workers", "strata_builder/engine/hashing"),
        *("strata_builder/engine/selecting", "strata_builder/engine/digests", "strata_builder/contents"),
    ),
    "placing": ("strata_builder/engine/placing", "strata_builder/engine/copying", "strata_builder/layers/items"),
    "tar": ("strata_builder/layers/pack", "strata_builder/layers/tarheader", "strata_builder/engine/packing"),
    "compressing, digests, writing": ("strata_builder/layers/compress", "strata_builder/layers/pipeline"),
    "tables of contents": (
        *("strata_builder/layers/index", "strata_builder/layers/names", "strata_builder/layers/rows"),
        *("strata_builder/layers/record", "strata_builder/engine/indexes", "strata_builder/rootfs/view"),
    ),
    "unpacking": (
        *("strata_builder/layers/unpack", "strata_builder/layers/restore", "strata_builder/layers/tar"),
        *("strata_builder/layers/content", "strata_builder/layers/owner", "strata_builder/layers/source"),
        *("strata_builder/layers/decompress", "strata_builder/layers/readahead", "strata_builder/layers/folders"),
    ),
    "comparing after a RUN": ("strata_builder/layers/diff", "strata_builder/layers/walk"),
    "roots and RUN": ("strata_builder/rootfs", "strata_builder/sandbox", "strata_builder/engine/running"),
    "registry": ("strata_builder/registry", "strata_builder/engine/artifact", "strata_builder/engine/recording"),
}
START: Final = "start and imports"
REST: Final = "plan, lint, records and the rest"
ORDER: Final = (START, *PHASES, REST)
_WAITING: Final = ("threading", "queue", "selectors", "concurrent/futures")
_FRAME: Final = re.compile(r"^(?P<function>.+) \((?P<file>[^()]+):\d+\)$")


@contextlib.contextmanager
def watching(seen: Path) -> Iterator[None]:
    """Within, what `strata build` does is written to `seen`. Raises builders.Failed without py-spy."""
    spy = shutil.which("py-spy", path=sysconfig.get_path("scripts"))
    if spy is None:
        raise builders.Failed("py-spy is not here: `make bench-profile` installs it")
    record = (spy, "record", "--rate", "1000", "--nonblocking", "--format", "raw", "--output", str(seen), "--")
    builders.Strata.below = record
    try:
        yield
    finally:
        builders.Strata.below = ()


def of_scenario(bench: lab.Lab, wanted: scenarios.Scenario, names: Sequence[str], rounds: int) -> dict[str, Profile]:
    """The mean of so many builds with each of these builders, of Strata's; of a row the mean of all of it."""
    found: dict[str, list[Profile]] = {name: [] for name in names}
    seen = bench.folder / "seen"

    def keep(name: str, _: costs.Cost) -> None:
        found[name].append(read(seen.read_text().splitlines()))
        seen.unlink()

    with watching(seen):
        bench.run(wanted, dict.fromkeys(names, rounds), keep)
    return {name: mean(profiles) for name, profiles in found.items()}


def read(lines: Sequence[str]) -> Profile:
    """Of stacks as py-spy writes them: frames from the outermost, then how often it was seen.

    It does not stop what it looks at, so a name that was just changing may hold anything, line ends too: such pieces are no
    lines of a stack with a count.
    """
    found: collections.Counter[str] = collections.Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if not count.isdecimal():
            continue
        frames = [match for frame in stack.split(";") if (match := _FRAME.match(frame))]
        if not frames or not frames[-1]["file"].startswith(_WAITING):
            found[_phase(frames)] += int(count)
    total = sum(found.values())
    return {phase: found[phase] / total for phase in ORDER if found[phase]} if total else {}


def _phase(frames: Sequence[re.Match[str]]) -> str:
    if not any(frame["file"].startswith("strata_builder/") for frame in frames):
        return START
    for frame in reversed(frames):
        if frame["file"] == "<string>":
            break
        if frame["function"] == "<module>" or frame["file"].startswith(("<frozen importlib", "argparse")):
            return START
        for phase, beginnings in PHASES.items():
            if frame["file"].startswith(beginnings):
                return phase
    return REST


def mean(profiles: Sequence[Profile]) -> Profile:
    phases = {phase for one in profiles for phase in one}
    return {phase: sum(one.get(phase, 0.0) for one in profiles) / len(profiles) for phase in phases}


def table(found: Mapping[str, Mapping[str, Profile]]) -> str:
    """A row a phase, a column a build; in Markdown."""
    columns = [(key, name) for key, by in found.items() for name in by]
    heads = [f"{key}{'' if name == report.OURS else f' ({name})'}" for key, name in columns]
    lines = [report.row(["", *heads]), report.row(["---", *("--:" for _ in heads)])]
    lines += [_row(phase, [found[key][name].get(phase, 0.0) for key, name in columns]) for phase in ORDER]
    return "\n".join(lines) + "\n"


def _row(phase: str, shares: Sequence[float]) -> str:
    return report.row([phase, *(f"{share:.0%}" if share >= 0.005 else "" for share in shares)])
