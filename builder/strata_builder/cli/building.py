"""`strata build`: what is asked for, and the first plan; `making` does the rest."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from strata_builder import contract, workers
from strata_builder.cli import agents, session, values


def run(given: argparse.Namespace) -> int:
    outputs = wanted(given)
    _require_places(given, outputs)
    if given.isolation != "layers":
        from strata_builder.cli import namespaces

        code = namespaces.enter(given, [sys.executable, "-m", "strata_builder.cli", *sys.argv[1:]])
        if code is not None:
            return code
    _end_as_by_a_key()
    with workers.started(), session.opened(given) as opened, agents.opened(given.ssh, os.environ) as opened.agents:
        first = opened.keyed(opened.platforms()[0])
        from strata_builder.cli import making  # takes a moment, and the registries have been asked

        making.every(opened, outputs, first)
    return contract.ExitCode.OK


def _end_as_by_a_key() -> None:
    """Whoever stops a job, or closes its terminal, leaves no more behind than ^C does. What is ignored stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
            signal.signal(number, signal.default_int_handler)


def wanted(given: argparse.Namespace) -> list[values.Output]:
    """The outputs that flags ask for, checked before any work. Raises UsageError."""
    outputs = [values.output(text) for text in given.output]
    if given.push and not any(output.push for output in outputs):
        outputs.append(values.Output("image", push=True))
    given.tag += [name for output in outputs for name in output.names if name not in given.tag]
    if any(output.push for output in outputs) and not given.tag:
        raise values.UsageError("--push needs a name", hint="add -t HOST/REPOSITORY:TAG")
    return outputs


def _require_places(given: argparse.Namespace, outputs: list[values.Output]) -> None:
    """Where results go is looked at before the work is done. Raises UsageError."""
    files = [output.dest for output in outputs if output.tar]
    for path in filter(None, [*files, given.iidfile, given.metadata_file]):
        if path == "-":
            continue
        if not Path(path).parent.is_dir():
            raise values.UsageError(
                f"cannot write {path}: there is no folder {Path(path).parent}", hint="make it first"
            )
        if Path(path).is_dir():
            raise values.UsageError(f"cannot write {path}: it is a folder", hint=f"name a file, as {path}/NAME")
    for path in (output.dest for output in outputs if not output.tar):
        if Path(path).exists() and not Path(path).is_dir():
            raise values.UsageError(f"cannot write into {path}: it is no folder", hint="name a folder, there or not")
