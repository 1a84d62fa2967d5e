"""`strata plan`: what a build would do, and why."""

from __future__ import annotations

import argparse

from strata_builder.cli import session
from strata_builder.engine import steps


def plan(given: argparse.Namespace) -> int:
    with session.opened(given) as opened:
        for platform in opened.platforms():
            _print(opened.keyed(platform), str(platform))
    return 0


def _print(made: session.Keyed, platform: str) -> None:
    print(f"platform {platform}")
    for index, stage in made.plan.stages.items():
        target = " (target)" if index == made.plan.target else ""
        print(f"stage {index} {stage.name or '-'}{target}: {_base(stage.base)}")
        for position, step in enumerate(stage.steps):
            key = made.keys.steps.get((index, position), "")
            print(
                f"  {step.place.line:>4}  {_state(made, key):<7} {key[:12]:<12}  {step.created_by.splitlines()[0][:100]}"
            )


def _state(made: session.Keyed, key: str) -> str:
    if not key:
        return "config"
    return "cached" if key in made.known.steps and not made.options.no_cache else "to do"


def _base(origin: steps.Origin) -> str:
    if isinstance(origin, steps.FromImage):
        return f"{origin.base.name}@{origin.base.digest}"
    return f"stage {origin.index}" if isinstance(origin, steps.FromStage) else "scratch"
