"""The figures as PNGs. The only module that needs matplotlib (requirements/bench.txt)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib import ticker

from bench import builders, growth, report, results, rows, scenarios, targets

# Okabe and Ito's colours, which people with any kind of colour vision tell apart; each with a mark of its own, too.
_LOOKS = {
    "strata": ("#000000", "o", "-"),
    "strata-zstd": ("#56B4E9", "P", "-"),
    "strata-warm": ("#0072B2", "X", "-"),
    "buildkit": ("#D55E00", "s", "--"),
    "buildkit-zstd": ("#E69F00", "D", "--"),
    "buildkit-fresh": ("#009E73", "^", "--"),
    "buildah": ("#CC79A7", "v", ":"),
}
_MEASURES = (("wall", "wall, s", report.wall), ("cpu", "CPU, s", report.cpu), ("memory", "peak, MB", report.memory))
_COLUMNS = 4
_BESIDE = 0.11


def draw(found: results.Results, folder: Path) -> list[str]:
    """Writes them to `folder` and returns their names."""
    mpl.use("Agg")
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 130})
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    if found.scenarios:
        made.append(_ratios(found.scenarios, folder))
    if found.growth:
        made += [_growth(found.growth, folder, *measure) for measure in _MEASURES]
    if "l" in found.scenarios:
        made.append(_row(found.scenarios["l"], folder))
    return made


def _save(figure: Any, folder: Path, name: str) -> str:
    figure.savefig(folder / name, metadata={"Software": None})  # the same figures give the same file
    plt.close(figure)
    return name


def _ratios(made: report.MADE, folder: Path) -> str:
    keys = [key for key in scenarios.SCENARIOS if key in made]
    figure, axes = plt.subplots(1, 2, figsize=(12, 1.6 + 0.45 * len(keys)), sharey=True, layout="constrained")
    for axis, (name, pick) in zip(axes, (("wall", report.wall), ("CPU", report.cpu)), strict=True):
        _ratio_axis(axis, keys, name)
        for number, key in enumerate(keys):
            _ratio_marks(axis, made[key], number, pick)
    for number, key in enumerate(keys):
        _target_marks(axes[0], key, number)
    for axis in axes:  # last: it must not widen the axis
        low, high = axis.get_xlim()
        axis.axvspan(low, 1, color="#000000", alpha=0.06, linewidth=0)
        axis.set_xlim(low, high)
    axes[0].set_yticks(range(len(keys)), [f"{scenarios.title(key)}   {key}" for key in keys])
    axes[0].invert_yaxis()
    handles = {text: mark for axis in axes for mark, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    order = sorted(handles, key=[*builders.NAMES, *handles].index)
    figure.legend([handles[text] for text in order], order, loc="outside lower center", ncols=4, frameon=False)
    return _save(figure, folder, "ratios.png")


def _ratio_axis(axis: Any, keys: Sequence[str], name: str) -> None:
    axis.set_xscale("log")
    axis.axvline(1, color="#000000", linewidth=1)
    axis.set_title(f"{name}: how many times what Strata takes", loc="left", fontsize=10)
    axis.set_xlabel("Strata is slower  ←  1  →  Strata is quicker")
    axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.grid(axis="x", which="major", color="#cccccc", linewidth=0.6)
    for number in range(len(keys)):
        axis.axhline(number, color="#dddddd", linewidth=0.6, zorder=0)


def _ratio_marks(axis: Any, measured: results.Measured, number: int, pick: targets.Pick) -> None:
    low, high = _limits(axis)
    for name, found in measured.rounds.items():
        ours = measured.rounds.get(report.beside(name))
        if not ours or name == report.beside(name):
            continue
        colour, mark, _ = _LOOKS[name]
        ratio, counts = pick(found) / pick(ours), report.counts(ours, found)
        low, high = min(low, ratio / 1.5), max(high, ratio * 1.5)
        fill = colour if counts else "none"  # hollow: our layers are too large beside theirs
        height = number + _BESIDE * (report.order(name) - report.order("buildkit-zstd"))  # so that none covers another
        axis.plot(ratio, height, mark, color=colour, markerfacecolor=fill, markersize=7, label=name, linestyle="none")
    axis.set_xlim(low, high)


def _limits(axis: Any) -> tuple[float, float]:
    """Of an axis that has marks already, else a little around 1."""
    low, high = axis.get_xlim() if axis.get_autoscalex_on() is False else (0.7, 1.5)
    return float(low), float(high)


def _target_marks(axis: Any, key: str, number: int) -> None:
    """Where the best of the target's peers would have to be at least."""
    for target in targets.TARGETS:
        if target.key == key and target.measure is report.wall and target.ours == report.OURS:
            label = "target: the peer it is held against has to be right of this"
            axis.plot(1 / target.share, number, "|", color="#000000", markersize=14, markeredgewidth=2, label=label)
            axis.set_xlim(min(axis.get_xlim()[0], 0.7 / target.share), max(axis.get_xlim()[1], 1.5 / target.share))


def _growth(grown: growth.Growth, folder: Path, name: str, label: str, pick: targets.Pick) -> str:
    lines = -(-len(grown) // _COLUMNS)
    figure, axes = plt.subplots(lines, _COLUMNS, figsize=(12, 2.5 * lines + 0.5), layout="constrained", squeeze=False)
    for axis in axes.flat[len(grown) :]:
        axis.set_visible(False)
    for axis, (key, sizes) in zip(axes.flat, grown.items(), strict=False):
        for builder in ("strata", "buildkit"):
            if found := growth.points(sizes, builder, pick):
                colour, mark, line = _LOOKS[builder]
                axis.plot(
                    *zip(*found, strict=True), marker=mark, linestyle=line, color=colour, label=builder, markersize=5
                )
        axis.set_title(f"{key}: {scenarios.FAMILIES[key].unit}", loc="left", fontsize=10)
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axis.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axis.grid(color="#dddddd", linewidth=0.6)
    for axis in axes[:, 0]:
        axis.set_ylabel(label)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    return _save(figure, folder, f"growth-{name}.png")


def _row(measured: results.Measured, folder: Path) -> str:
    figure, axes = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained")
    for name, found in measured.rounds.items():
        colour, _, line = _LOOKS[name]
        builds = range(1, len(found) + 1)
        axes[0].plot(builds, rows.smooth([cost.wall for cost in found]), line, color=colour, label=name)
        axes[1].plot(builds, rows.kept(found), line, color=colour, label=name)
    axes[0].set_title(f"wall of a build, s (median of {rows.AROUND})", loc="left", fontsize=10)
    axes[1].set_title("kept in the registry and in the builder's folder, MB", loc="left", fontsize=10)
    for axis in axes:
        axis.set_xlabel("builds")
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.grid(color="#dddddd", linewidth=0.6)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return _save(figure, folder, "row.png")
