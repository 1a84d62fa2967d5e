"""Where steps of `strata build` run: in a mount namespace of root's own, or in a user namespace of anybody else's."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from strata_builder.cli import agents, session, sources
from strata_builder.sandbox import host


def enter(given: argparse.Namespace, argv: Sequence[str]) -> int | None:
    """As `host.enter_user_namespace`, which is not asked where no step of another user's build will run."""
    if os.geteuid() == 0:
        return host.enter_user_namespace([])
    return host.enter_user_namespace(argv) if _needs_sandbox(given) else None


def _needs_sandbox(given: argparse.Namespace) -> bool:
    """Only what is in files on this machine can be looked at before the build begins, which reads it again; anything else
    may hold a RUN."""
    if given.context == "-" or given.file == "-" or not Path(given.context).is_dir():
        return True
    if any(map(_can_be_read_once, [given.file or "", *map(sources.secret_file, given.secret)])):
        return True
    from strata_builder.engine import stages

    with session.opened(given) as opened, agents.opened(given.ssh, os.environ) as opened.agents:
        made = opened.keyed(opened.platforms()[0])
        return any(
            not stages.is_known(made.keys, made.options, made.known, index, position, step)
            for index, stage in made.plan.stages.items()
            for position, step in enumerate(stage.steps)
            if step in made.plan.runs
        )


def _can_be_read_once(path: str) -> bool:
    """A pipe, as `<(program)` of a shell is one."""
    place = Path(path)  # "" is the folder that we are in
    return place.exists() and not place.is_file() and not place.is_dir()
