"""The figures as a table, with the targets beside them, and as the page docs/scale.md."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("scale.md.in")
_RESYNC_SECONDS = 600.0  # between two resyncs, by default
_MB = 1_000_000

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: `of` gives the figure, `target` is the most that it should be."""

    name: str
    of: Callable[[Figures], float]
    digits: int = 2
    target: float | None = None


def idle_share(found: Figures) -> float:
    """Percent of a core, with the resync of every ten minutes in it."""
    return float(found["idle"]["cpu_share"] + found["resync"]["cpu"] / _RESYNC_SECONDS) * 100


ROWS: tuple[Row, ...] = (
    Row(
        "operator's CPU per build, with all that it did meanwhile, ms",
        lambda f: f["flow"]["cpu_per_build"] * 1000,
        0,
        150,
    ),
    Row("writes to the API server per build", lambda f: f["flow"]["writes_per_build"], 1, 8),
    Row("dry runs of admission per build", lambda f: f["flow"]["dry_runs_per_build"], 1),
    Row("all requests per build, reads and dry runs too", lambda f: f["flow"]["requests_per_build"], 1),
    Row("reconciles per build", lambda f: f["flow"]["reconciles_per_build"], 1),
    Row("event to reconcile, p50, s (upper bound)", lambda f: f["flow"]["wait"]["p50"], 3),
    Row("event to reconcile, p99, s (upper bound)", lambda f: f["flow"]["wait"]["p99"], 3, 1),
    Row("… once the first ones, applied together, have Jobs, p99", lambda f: f["flow"]["wait_then"], 3, 1),
    Row("… of builds that have a Job, p99, s (upper bound)", lambda f: f["flow"]["wait_of"]["running"], 3),
    Row("… of builds that are to start, p99, s (upper bound)", lambda f: f["flow"]["wait_of"]["open"], 3),
    Row("… of builds that are asked for one by one, p99, s (upper bound)", lambda f: f["steady"]["wait"]["p99"], 3, 1),
    Row("apply to Job, p50, s", lambda f: f["flow"]["apply_to_job"]["p50"]),
    Row("apply to Job, p99, s", lambda f: f["flow"]["apply_to_job"]["p99"]),
    Row("apply to pod, p50, s", lambda f: f["flow"]["apply_to_pod"]["p50"]),
    Row("apply to pod, p99, s", lambda f: f["flow"]["apply_to_pod"]["p99"]),
    Row("pod's end to Ready, p50, s", lambda f: f["flow"]["end_to_ready"]["p50"]),
    Row("pod's end to Ready, p99, s", lambda f: f["flow"]["end_to_ready"]["p99"]),
    Row("one by one: apply to Job, p99, s", lambda f: f["steady"]["apply_to_job"]["p99"]),
    Row("one by one: pod's end to Ready, p99, s", lambda f: f["steady"]["end_to_ready"]["p99"]),
    Row("memory when started, MB", lambda f: f["start"]["memory"] / _MB, 0, 300),
    Row("memory after the builds, MB", lambda f: f["end"]["memory"] / _MB, 0, 300),
    Row("memory at the most, MB", lambda f: max(f["end"]["peak"], f["restart"]["peak"]) / _MB, 0, 300),
    Row("restart until it works, s", lambda f: f["restart"]["working"], 1, 15),
    Row("restart until all were looked at, s", lambda f: f["restart"]["seconds"], 1),
    Row("CPU of a restart, s", lambda f: f["restart"]["cpu"], 1),
    Row("idle, % of a core, resyncs in it", idle_share, 2, 2),
    Row("idle between resyncs, % of a core", lambda f: f["idle"]["cpu_share"] * 100),
    Row("CPU of one resync, s", lambda f: f["resync"]["cpu"]),
    Row("requests per minute when idle", lambda f: f["idle"]["requests_per_minute"], 0),
    Row("a whole list of them in pages of 500, s", lambda f: f["list"]["seconds"], 1),
    Row("… MB of text", lambda f: f["list"]["bytes"] / _MB, 0),
    Row("events of the operator's watches per build", lambda f: sum(f["flow"]["watched"]["events"].values()), 1),
    Row("… kB of text", lambda f: sum(f["flow"]["watched"]["bytes"].values()) / 1000, 0),
    Row("load of the machine meanwhile", lambda f: f["load"], 1),
)


def table(found: Sequence[Figures]) -> str:
    """Markdown; a figure that misses its target is bold."""
    sizes = [f"{one['size']:,}" for one in found]
    lines = [f"| ImageBuilds | {' | '.join(sizes)} | target |", "| --- |" + " ---: |" * (len(found) + 1)]
    for row in ROWS:
        cells = [_cell(row, known(row.of, one)) for one in found]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {'' if row.target is None else f'≤ {row.target:g}'} |")
    return "\n".join(lines) + "\n"


def requests(found: Sequence[Figures]) -> str:
    """What is asked of the API server for one build, by verb and resource, at the greatest size."""
    asked: dict[str, float] = next((one["flow"]["requests"] for one in reversed(found) if "flow" in one), {})
    lines = ["| request | per build |", "| --- | ---: |"]
    shown = sorted(asked.items(), key=lambda item: (-item[1], item[0]))
    return "\n".join([*lines, *(f"| {name} | {count:.2f} |" for name, count in shown if count >= 0.01)]) + "\n"


def watches(found: Sequence[Figures]) -> str:
    """What the operator's watches tell it for one build, by resource, at the greatest size."""
    told = next((one["flow"]["watched"] for one in reversed(found) if "watched" in one.get("flow", {})), None)
    if told is None:
        return "Not measured in this run.\n"
    lines = ["| watch | events per build | kB per build |", "| --- | ---: | ---: |"]
    shown = sorted(told["events"].items(), key=lambda item: (-item[1], item[0]))
    return (
        "\n".join([*lines, *(f"| {name} | {n:.2f} | {told['bytes'][name] / 1000:.1f} |" for name, n in shown)]) + "\n"
    )


def text(found: Sequence[Figures], *, plot: str = "") -> str:
    """The page. A line `@name@` of the template stands for one of the tables; `plot` is the path of the PNG, if any."""
    parts = {
        "table": table(found),
        "plot": f"![Memory, restart, idling and processor time by the number of ImageBuilds]({plot})\n" if plot else "",
        "requests": requests(found),
        "watches": watches(found),
        "plan": "".join(map(_plan, found)),
        "failover": failover(found),
    }
    return re.sub(r"^@(\w+)@\n", lambda place: parts[place[1]], TEMPLATE.read_text(), flags=re.MULTILINE)


def failover(found: Sequence[Figures]) -> str:
    """Two replicas: from the end of the one that leads until the other has made the Job of a new ImageBuild."""
    measured = [one for one in found if "failover" in one]
    if not measured:
        return "Not measured in this run.\n"
    heads = [f"with {one['size']:,} ImageBuilds, s" for one in measured]
    lines = [f"| another acts after the leader | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    names = {"killed": "is killed (-9)", "ended": "is told to end (SIGTERM)"}
    for how, name in names.items():
        lines.append(f"| {name} | {' | '.join(format(one['failover'][how], '.1f') for one in measured)} |")
    return "\n".join(lines) + "\n"


def _plan(found: Figures) -> str:
    flow, note = found.get("flow"), found.get("note", "")
    text = "the run was ended before builds flowed"
    if flow:
        text = f"{flow['builds']} were built, at most {flow['active']} at once, in {flow['seconds']:.0f} s"
    if steady := found.get("steady"):
        text += f"; then {steady['builds']}, {steady['rate']:g} a second, {steady['active']} at most at once"
    return f"- {found['size']:,} ImageBuilds: {text}{'; ' if note else ''}{note}.\n"


def known(of: Callable[[Figures], float], found: Figures) -> float:
    """A figure, not a number where a run was ended before it was measured."""
    try:
        return of(found)
    except KeyError:
        return math.nan


def _cell(row: Row, value: float) -> str:
    if math.isnan(value):
        return "–"
    shown = f"{value:.{row.digits}f}"
    return f"**{shown}**" if row.target is not None and value > row.target else shown
