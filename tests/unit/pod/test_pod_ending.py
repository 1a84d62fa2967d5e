"""How a container ends: message, exit code, signals, deadline."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strata_builder import contract, errors, termination
from strata_builder.pod import alive, ending
from strata_builder.registry import errors as registry_errors

ENDS = [
    (errors.NeedsSandbox("x"), contract.ExitCode.NEEDS_SANDBOX, "PodRejected"),
    (errors.NoUserNamespace("x"), contract.ExitCode.NO_USER_NAMESPACE, "PodRejected"),
    (errors.RunFailed("x", exit_code=3), contract.ExitCode.RUN_FAILED, "RunFailed"),
    (errors.DeadlineExceeded("x"), contract.ExitCode.DEADLINE, "DeadlineExceeded"),
    (errors.SourceAuthFailed("x"), contract.ExitCode.FAILED, "SourceAuthFailed"),
    (errors.RegistryUnavailable("x"), contract.ExitCode.RETRYABLE, "RegistryUnavailable"),
    (registry_errors.BlobsUnknown("x"), contract.ExitCode.RETRYABLE, "InfrastructureFailed"),
    (alive.PeerLost("x"), contract.ExitCode.PEER_LOST, None),
    (ending.Expired("x"), contract.ExitCode.DEADLINE, "DeadlineExceeded"),
    (ending.Interrupted(), contract.ExitCode.INTERRUPTED, "InfrastructureFailed"),
    (MemoryError(), contract.ExitCode.FAILED, "OutOfMemory"),
    (OSError(errno.ENOSPC, "full", "/x"), contract.ExitCode.FAILED, "StorageLimitExceeded"),
    (ValueError("a bug"), contract.ExitCode.RETRYABLE, "InfrastructureFailed"),
]


@pytest.mark.parametrize(("error", "code", "reason"), ENDS, ids=[type(row[0]).__name__ for row in ENDS])
def test_each_end_has_its_code_and_reason(error: BaseException, code: int, reason: str | None) -> None:
    failure = ending.failure_of(error)
    assert (ending.exit_code(error), failure and failure.reason) == (code, reason)


def test_a_failure_carries_its_place(tmp_path: Path) -> None:
    place = errors.Place("Dockerfile", 3, 4, "RUN x")
    ending.write(
        tmp_path / "m", ending.failure_of(errors.RunFailed("bad", exit_code=1, place=place)) or contract.Failure("", "")
    )
    said = contract.decode_result((tmp_path / "m").read_text())
    assert said == contract.Failure(
        "RunFailed", "Dockerfile:3-4: bad\n  3 | RUN x", file="Dockerfile", line=3, end_line=4
    )


def test_a_message_fits_whatever_was_said(tmp_path: Path) -> None:
    ending.write(tmp_path / "m", contract.Failure("RunFailed", "é\n" * 100_000 + "the end"))
    assert (tmp_path / "m").stat().st_size <= termination.LIMIT
    said = contract.decode_result((tmp_path / "m").read_text())
    assert isinstance(said, contract.Failure)
    assert said.message.endswith("the end")


def test_a_failure_tells_the_base_images_that_were_met(tmp_path: Path) -> None:
    child = """
import sys, pathlib
from strata_builder import errors
from strata_builder.pod import ending, met
found = met.Met()
def role():
    found.meet("debian", "sha256:d")
    raise errors.RunFailed("bad", exit_code=1)
sys.exit(ending.run(role, pathlib.Path(sys.argv[1]), timeout=60, met=found))
"""
    done = subprocess.run([sys.executable, "-c", child, str(tmp_path / "m")], check=False, capture_output=True)
    assert done.returncode == contract.ExitCode.RUN_FAILED
    said = contract.decode_result((tmp_path / "m").read_text())
    assert isinstance(said, contract.Failure)
    assert said.base_images == (contract.BaseImage("debian", "sha256:d"),)


def test_a_failure_shows_no_secret_that_is_put_together_where_its_message_is_shown(tmp_path: Path) -> None:
    """The operator takes control characters out, as whoever prints UTF-16 has between all others."""
    child = """
import sys, pathlib
from strata_builder import errors
from strata_builder.pod import ending, logs
log = logs.Log()
log.hide([b"s3cret-value"])
def role():
    raise errors.RunFailed("exit code 1\\nok\\n" + "\\0".join("s3cret-value"), exit_code=1, output="ok")
sys.exit(ending.run(role, pathlib.Path(sys.argv[1]), timeout=60, log=log))
"""
    subprocess.run([sys.executable, "-c", child, str(tmp_path / "m")], check=False, capture_output=True)
    said = contract.decode_result((tmp_path / "m").read_text())
    assert isinstance(said, contract.Failure)
    assert said.message == "exit code 1\nok\n***"


def test_the_code_tells_of_a_failure_for_whose_message_there_is_no_room() -> None:
    child = """
import sys, pathlib
from strata_builder import errors
from strata_builder.pod import ending
def role():
    raise errors.RunFailed("cc1: no space left", exit_code=1)
sys.exit(ending.run(role, pathlib.Path("/dev/full"), timeout=60))
"""
    done = subprocess.run([sys.executable, "-c", child], check=False, capture_output=True, text=True)
    assert done.returncode == contract.ExitCode.RUN_FAILED
    assert done.stderr.splitlines() == [
        "error: cc1: no space left",
        "the message for the operator could not be written: No space left on device",
    ]


def test_the_kubelets_file_is_written_into_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("x" * 10_000)
    inode = (tmp_path / "m").stat().st_ino
    ending.write(tmp_path / "m", contract.Failure("RunFailed", "short"))
    assert (tmp_path / "m").stat().st_ino == inode
    contract.decode_result((tmp_path / "m").read_text())


CHILD = """
import sys, time, pathlib
from strata_builder.pod import ending
ending.GRACE = 0.0
print("ready", flush=True)
sys.exit(ending.run(lambda: time.sleep(30), pathlib.Path(sys.argv[1]), timeout=float(sys.argv[2])))
"""


@pytest.mark.parametrize(
    ("number", "timeout", "code", "reason"),
    [(signal.SIGTERM, 60.0, 130, "InfrastructureFailed"), (None, 0.2, 13, "DeadlineExceeded")],
)
def test_a_signal_and_the_deadline_end_a_role(
    tmp_path: Path, number: int | None, timeout: float, code: int, reason: str
) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "m"), str(timeout)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        if number is not None:
            time.sleep(0.3)
            os.kill(child.pid, number)
        assert child.wait(20) == code
    said = contract.decode_result((tmp_path / "m").read_text())
    assert isinstance(said, contract.Failure)
    assert said.reason == reason
