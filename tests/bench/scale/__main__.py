"""`python -m bench.scale`: measure the operator with many ImageBuilds, print the table, write page and plot."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from bench.scale import failover, lab, measure, report
from support import controlplane, registry_process


def main() -> int:
    """Returns the exit code."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # processes and folders end with us
    if asked.report:
        _keep(json.loads(asked.results.read_text()), asked)
        return 0
    programs, registry = controlplane.find_binaries(), registry_process.find_binary()
    if programs is None or registry is None:
        print("the cluster's programs are not compiled yet: `make cluster-up` does it", file=sys.stderr)
        return 2
    found = asyncio.run(_measure(programs, registry, asked))
    kept = json.loads(asked.results.read_text()) if asked.results.exists() else []
    sizes = {one["size"]: one for one in (*kept, *found)}
    _keep([sizes[size] for size in sorted(sizes)], asked)
    return 0


def _keep(found: list[measure.Figures], asked: argparse.Namespace) -> None:
    """The figures, the table, and with --page its folder's PNG and the page beside it."""
    asked.results.parent.mkdir(parents=True, exist_ok=True)
    asked.results.write_text(json.dumps(found, indent=1) + "\n")
    print(report.table(found))
    if asked.page:
        from bench.scale import plots  # matplotlib is for this alone

        picture = asked.page.with_suffix("") / "scale.png"
        plots.draw(found, picture)
        asked.page.write_text(report.text(found, plot=str(picture.relative_to(asked.page.parent))))


async def _measure(programs: Path, registry: Path, asked: argparse.Namespace) -> list[measure.Figures]:
    plan = measure.Plan(asked.builds, asked.active, asked.pod_seconds, asked.steady, asked.rate, asked.idle)
    async with lab.opened(programs, registry) as world:
        found = [await measure.at(world, size, plan, _say) for size in sorted(asked.sizes)]
        _say("two replicas")
        found[-1]["failover"] = await failover.measure(world)
        return found


def _say(text: str) -> None:
    print(f"[load {os.getloadavg()[0]:.1f}] {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--sizes", type=_sizes, default=(1000, 5000, 10_000), help="numbers of ImageBuilds: 1000,5000")
    parser.add_argument("--builds", type=int, default=300, help="how many of them are built while it is measured")
    parser.add_argument("--active", type=int, default=100, help="how many at once")
    parser.add_argument("--pod-seconds", type=float, default=20.0, help="how long a simulated pod works")
    parser.add_argument("--steady", type=int, default=200, help="how many are built after that, one after another")
    parser.add_argument("--rate", type=float, default=1.0, help="how many of these are asked for in a second")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of idling")
    parser.add_argument("--results", type=Path, required=True, help="where the figures go, as JSON; other sizes stay")
    parser.add_argument("--page", type=Path, help="the page to write, with a PNG in the folder of its name")
    parser.add_argument("--report", action="store_true", help="measure nothing: table and page of what --results has")
    return parser.parse_args()


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
