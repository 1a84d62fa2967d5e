"""The log of an attempt on its way out of the pod: push puts what all containers have left into the registry.

It does so however the build ended, when the message for the operator is already written: a log that cannot be kept
costs the log. What build has left is hostile: it is bounded and cleaned here, and names neither digest nor tag.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from strata_builder import contract, errors
from strata_builder.buildlog import artifact, segments, text
from strata_builder.pod import alive, logs, settings
from strata_builder.pod.paths import Paths
from strata_builder.registry import connect, retry

PATIENCE: Final = 5.0  # seconds in which the others are to end, once push has
BUDGET: Final = 20.0  # seconds for the registry
BUDGET_OF_A_DELETED_POD: Final = 7.0  # together with PATIENCE less than the pod's grace
_POLL: Final = 0.03
_TIMEOUTS: Final = connect.Timeouts(connect=5.0, read=10.0)
_FEW: Final = retry.Policy(attempts=2)


def keep(request: contract.BuildRequest, paths: Paths, *, good: bool, hurry: bool) -> None:
    """Puts the log into the registry, or says on standard error why not. `hurry`: the pod is being deleted."""
    if not request.log.tag:
        return
    _await_others(paths)
    failures: list[BaseException] = []

    def upload() -> None:
        try:
            _upload(request, paths, good=good)
        except BaseException as e:  # noqa: BLE001  told below, by the thread that has waited
            failures.append(e)

    worker = threading.Thread(target=upload, name="log", daemon=True)
    try:
        worker.start()
    except RuntimeError as e:  # the pod has as many as it may
        _warn(str(e))
        return
    worker.join(BUDGET_OF_A_DELETED_POD if hurry else BUDGET)
    if worker.is_alive():
        _warn("the registry took too long")
    elif failures:
        _warn(str(failures[0]) if isinstance(failures[0], errors.BuildError) else repr(failures[0]))


def lines(paths: Paths) -> list[str]:
    """What the containers of this pod have left, in one order, each line safe to show."""
    found = {
        contract.FETCH: segments.read(paths.log(contract.FETCH), segments.HELPER),
        contract.BUILD: segments.read(paths.log(contract.BUILD), segments.STEPS),
        contract.PUSH: segments.read(paths.log(contract.PUSH), segments.STEPS),
    }
    return [str(line) for line in text.merged(found)]


def _await_others(paths: Paths, *, sleep: Callable[[float], None] = time.sleep) -> None:
    deadline = time.monotonic() + PATIENCE
    peers = [alive.Peer(role, paths.writes_log(role)) for role in (contract.FETCH, contract.BUILD)]
    while time.monotonic() < deadline and any(_writes(peer) for peer in peers):
        sleep(_POLL)


def _writes(peer: alive.Peer) -> bool:
    try:
        return peer.state() is alive.State.RUNNING
    except OSError:  # a step has put something else there
        return False


def _upload(request: contract.BuildRequest, paths: Paths, *, good: bool) -> None:
    build, output = request.build, request.output
    data = artifact.pack(lines(paths))
    entry = artifact.made(build.number, build.attempt, "Succeeded" if good else "Failed", logs.now(), data)
    with settings.registries(request, paths, timeouts=_TIMEOUTS, policy=_FEW) as registries:
        artifact.add(
            registries.get(output.registry),
            output.repository,
            request.log.tag,
            entry,
            data,
            keep=request.log.keep,
            imagebuild=f"{build.namespace}/{build.name}",
            note=_say,
        )


def _warn(why: str) -> None:
    _say(f"warning: the log is not kept: {why}")


def _say(shown: str) -> None:
    print(shown, file=sys.stderr, flush=True)
