"""How a container ends: signals and the deadline as exceptions, a termination message, an exit code."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from strata_builder import contract, errors, termination
from strata_builder.buildlog import text
from strata_builder.frozen import replace
from strata_builder.pod import alive, logs
from strata_builder.pod.met import Met

#: The engine ends a step that outlasts the deadline itself, and can say which; this comes after it.
GRACE: Final = 5.0


class Interrupted(BaseException):
    """The pod is to end (SIGTERM, SIGINT)."""


class Expired(BaseException):
    """The time is up. No BuildError: whoever goes on without what failed must not go on after this."""


def run(
    role: Callable[[], contract.BuildResult | None],
    message: Path,
    *,
    timeout: float,
    log: logs.Log | None = None,
    met: Met | None = None,
) -> int:
    """Runs `role`, writes what it ends with to `message`, and gives the exit code. `timeout` is in seconds; a failure
    takes the last lines of `log` along, and the base images that were `met`."""
    _install(timeout)
    try:
        result = role()
    except BaseException as e:  # noqa: BLE001  every end has to be told, also that of a bug
        _disarm()
        failure = failure_of(e)
        last = _last_lines(e, log)
        if _is_unexpected(e):
            import traceback

            traceback.print_exception(e)
        if failure is not None:
            print(_shown(e, failure), file=sys.stderr, flush=True)
            _tell(message, replace(_with_lines(failure, last, log), base_images=met.all() if met else ()))
        return exit_code(e)
    _disarm()
    if result is not None:
        write(message, result)
    return contract.ExitCode.OK


def exit_code(error: BaseException) -> int:
    """What the operator is told by the code alone."""
    codes = contract.ExitCode
    for kind, code in (
        (Interrupted, codes.INTERRUPTED),
        (KeyboardInterrupt, codes.INTERRUPTED),
        (alive.PeerLost, codes.PEER_LOST),
        (errors.NeedsSandbox, codes.NEEDS_SANDBOX),
        (errors.NoUserNamespace, codes.NO_USER_NAMESPACE),
        (errors.RunFailed, codes.RUN_FAILED),
        (errors.DeadlineExceeded, codes.DEADLINE),
        (Expired, codes.DEADLINE),
    ):
        if isinstance(error, kind):
            return code
    failure = failure_of(error)
    return codes.RETRYABLE if failure is None or failure.retryable else codes.FAILED


def failure_of(error: BaseException) -> contract.Failure | None:
    """What is said to the operator; None where another container says it."""
    if isinstance(error, alive.PeerLost):
        return None
    if isinstance(error, errors.BuildError):
        return _of_build_error(error)
    if isinstance(error, Expired):
        return contract.Failure("DeadlineExceeded", str(error), hint="raise spec.timeout")
    if isinstance(error, Interrupted | KeyboardInterrupt):
        # By whoever deleted the pod or shut its node down: whose build is cancelled is no longer listened to.
        return contract.Failure("InfrastructureFailed", "the builder was told to end", retryable=True)
    if isinstance(error, MemoryError):
        return contract.Failure("OutOfMemory", "the builder ran out of memory", hint="raise the pod's memory limit")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "raise the ephemeral storage of the builder (spec.pod.resources)"
        return contract.Failure("StorageLimitExceeded", f"no space left on {error.filename or 'the disk'}", hint=hint)
    return contract.Failure("InfrastructureFailed", f"{type(error).__name__}: {error}"[:1000], retryable=True)


def _of_build_error(error: errors.BuildError) -> contract.Failure:
    place = error.place or errors.Place("", 0, 0)
    reason = error.reason if error.reason in contract.REASONS else "InfrastructureFailed"
    retryable = error.retryable or reason in contract.RETRIED
    message = str(errors.BuildError(error.message, place=error.place))  # with the excerpt; the hint travels on its own
    return contract.Failure(reason, message, retryable, place.file, place.line, place.end_line, error.hint)


def write(path: Path, value: contract.BuildResult | contract.Failure) -> None:
    """The file is the kubelet's own: it is written into, never replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="replace") as file:
        file.write(termination.message(value))


def _tell(path: Path, failure: contract.Failure) -> None:
    """Where a full disk has no room for the message, the exit code still tells whose failure it is."""
    try:
        write(path, failure)
    except OSError as e:
        print(f"the message for the operator could not be written: {e.strerror}", file=sys.stderr, flush=True)


def _install(timeout: float) -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise Interrupted

    def expire(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise Expired(f"the build took longer than its timeout of {timeout:.0f} s")

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, timeout + GRACE)


def _disarm() -> None:
    """From here on only the message is written: nothing may cut it off."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _last_lines(error: BaseException, log: logs.Log | None) -> str:
    """Of a step that failed its own, for others may print beside it."""
    if isinstance(error, errors.RunFailed) and error.output:
        return text.last(error.output.split("\n"))
    return log.tail() if log else ""


def _with_lines(failure: contract.Failure, last: str, log: logs.Log | None) -> contract.Failure:
    """`failure` without a secret of any step: the one that failed may have printed another's."""
    if log is None:
        return replace(failure, log=last)
    message = "\n".join(map(log.safe, failure.message.split("\n")))
    return replace(failure, message=message, hint=log.masked(failure.hint), log=log.masked(last))


def _is_unexpected(error: BaseException) -> bool:
    return not isinstance(error, errors.BuildError | Interrupted | Expired | KeyboardInterrupt)


def _shown(error: BaseException, failure: contract.Failure) -> str:
    return f"error: {error}" if isinstance(error, errors.BuildError) else f"error: {failure.message}"
