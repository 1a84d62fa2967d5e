"""The figures as one PNG. The only module of this package that needs matplotlib (requirements/bench.txt)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.scale import report

Figures = dict[str, Any]
_MB = 1_000_000
_Line = tuple[str, Callable[[Figures], float]]
_PANELS: tuple[tuple[str, float | None, tuple[_Line, ...]], ...] = (
    (
        "memory, MB",
        300,
        (
            ("started", lambda f: f["start"]["memory"] / _MB),
            ("after the builds", lambda f: f["end"]["memory"] / _MB),
            ("at the most", lambda f: max(f["end"]["peak"], f["restart"]["peak"]) / _MB),
        ),
    ),
    (
        "restart, s",
        15,
        (
            ("until it works", lambda f: f["restart"]["working"]),
            ("until all were looked at", lambda f: f["restart"]["seconds"]),
            ("CPU", lambda f: f["restart"]["cpu"]),
        ),
    ),
    (
        "idle, % of a core",
        2,
        (("with resyncs", report.idle_share), ("without", lambda f: f["idle"]["cpu_share"] * 100)),
    ),
    ("operator's CPU per build, ms", 150, (("CPU", lambda f: f["flow"]["cpu_per_build"] * 1000),)),
)
# Okabe and Ito's colours, each with a mark of its own.
_LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"))


def draw(found: Sequence[Figures], path: Path) -> None:
    """Four panels over the number of ImageBuilds; the dashed line is the target."""
    mpl.use("Agg")
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 130})
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
    sizes = [one["size"] for one in found]
    for place, (title, target, lines) in zip(axes.flat, _PANELS, strict=True):
        for (name, of), (colour, mark) in zip(lines, _LOOKS, strict=False):
            place.plot(sizes, [report.known(of, one) for one in found], color=colour, marker=mark, label=name)
        if target is not None:
            place.axhline(target, color="black", linestyle="--", linewidth=1, label="target")
        place.set(title=title, xlabel="ImageBuilds", xlim=(0, None), ylim=(0, None))
        place.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
