"""Runs the host's programs, and turns a failure into a message with the command and what it said."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster import errors


def run(
    *argv: str | Path,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Runs a command and returns its stdout.

    Raises:
        errors.ClusterError: it is not there, or it exited other than 0; the text holds the end of its output.
    """
    done = attempt(*argv, stdin=stdin, environment=environment, folder=folder)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-3000:]
        raise errors.ClusterError(f"`{shlex.join(map(str, argv))}` exited {done.returncode}:\n{said}")
    return done.stdout


def attempt(
    *argv: str | Path,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command whose exit code the caller judges.

    Raises:
        errors.ClusterError: the program is not there.
    """
    command: Sequence[str] = [str(word) for word in argv]
    env = {**os.environ, **environment} if environment else None
    try:
        # An empty stdin, unless text is given: a program that asks a question must fail, not wait for ever.
        given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=folder, **given)
    except FileNotFoundError:
        raise errors.ClusterError(
            f"the program {command[0]!r} is not there; run `python -m cluster up`, which says what to install"
        ) from None
