"""What each container of a builder pod does, by its ROLE; `start.pod` runs it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from strata_builder import contract, errors
from strata_builder.buildlog import segments
from strata_builder.engine import report
from strata_builder.pod import alive, ending, exchange, logs
from strata_builder.pod.met import Met
from strata_builder.pod.paths import Paths

_ROLES = (contract.FETCH, contract.BUILD, contract.PUSH, "all", contract.INSTALL)
_USAGE = f"usage: strata-pod {{{','.join(_ROLES)}}} [--home FOLDER, where the paths of the pod begin]"
_MAX_REQUEST = 1 << 20
_INSTALL_SECONDS = 300


def main(argv: list[str] | None = None) -> int:
    """The exit code of the role that `argv` names."""
    given = sys.argv[1:] if argv is None else argv
    if len(given) not in (1, 3) or given[0] not in _ROLES or given[1:2] not in ([], ["--home"]):
        print(_USAGE, file=sys.stderr)
        return contract.ExitCode.USAGE
    role, paths = given[0], Paths(Path(given[2] if given[1:] else contract.HOME))
    os.umask(0o022)  # what one container leaves the others must be able to read
    message, began = paths.at(contract.TERMINATION_LOG), time.monotonic()
    if role == contract.INSTALL:
        return ending.run(lambda: _install(paths), message, timeout=_INSTALL_SECONDS)
    try:
        request = load(paths)
    except BaseException as e:  # noqa: BLE001  it has to be told like any other end
        error = e
        return ending.run(lambda: _raise(error), message, timeout=60)
    met = Met()
    with logged(role, paths) as log:
        code = ending.run(
            lambda: run(role, request, paths, began + request.timeout_seconds, log, met),
            message,
            timeout=request.timeout_seconds,
            log=log,
            met=met,
        )
    if role not in (contract.FETCH, contract.BUILD):
        _keep_log(request, paths, code)
    return code


@contextlib.contextmanager
def logged(role: str, paths: Paths) -> Iterator[logs.Log]:
    """What is printed within goes to a log that push can read, and is whole once this has ended."""
    beside = role in (contract.FETCH, contract.BUILD)
    limits = segments.HELPER if role in (contract.FETCH, contract.PUSH) else segments.STEPS
    holder = alive.Holder(paths.writes_log(role)) if beside else None
    log = logs.Log(paths.log(role), limits)
    out, err = logs.Stream(log, sys.stdout), logs.Stream(log, sys.stderr)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield log
    finally:
        out.finish()
        err.finish()
        log.close()
        if holder:
            holder.close()


def _keep_log(request: contract.BuildRequest, paths: Paths, code: int) -> None:
    """Not of a pod in whose place another one follows in the same attempt."""
    from strata_builder.pod import keeping

    codes = contract.ExitCode
    if code != codes.NEEDS_SANDBOX:
        keeping.keep(request, paths, good=code == codes.OK, hurry=code == codes.INTERRUPTED)


def load(paths: Paths) -> contract.BuildRequest:
    """Raises InvalidSpec for a request that this version does not understand."""
    path = paths.at(contract.REQUEST).resolve()  # a ConfigMap's keys are links
    try:
        return contract.decode_request(exchange.read(path, _MAX_REQUEST).decode("utf-8"))
    except (contract.ContractError, UnicodeDecodeError) as e:
        raise errors.InvalidSpec(f"the build request cannot be read: {e}") from e


def run(
    role: str, request: contract.BuildRequest, paths: Paths, deadline: float, log: logs.Log, met: Met
) -> contract.BuildResult | None:
    """Carries out one role. Its modules are imported here: each container starts with no more than it needs."""
    reporter = report.Plain(sys.stdout)
    if role == contract.FETCH:
        from strata_builder.pod import fetching

        fetching.run(request, paths, reporter, hide=log.hide, meet=met.meet)
        return None
    if role == contract.BUILD:
        from strata_builder.pod import building

        building.run(request, paths, reporter, deadline, hide=log.hide, meet=met.meet)
        return None
    if role == contract.PUSH:
        from strata_builder.pod import pushing

        return pushing.run(request, paths, reporter, deadline, met.meet)
    from strata_builder.pod import whole

    return whole.run(request, paths, reporter, deadline, hide=log.hide, meet=met.meet)


def _install(paths: Paths) -> None:
    from strata_builder.pod import install

    install.run(paths.home, Path(contract.INSTALLED))


def _raise(error: BaseException) -> None:
    raise error
