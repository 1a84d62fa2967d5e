"""Further processes: each call is answered in order, a failure is told, and none outlives the program."""

from __future__ import annotations

import fcntl
import operator
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from strata_builder import workers

PROGRAM = """
import os, time
from strata_builder import workers
with workers.started(2), workers.borrowed() as found:
    for one in found:
        one.ask(os.getpid)
    print(*(one.answer() for one in found), flush=True)
    time.sleep(60)
"""


def read_all(descriptors: list[int]) -> list[bytes]:
    return [os.read(descriptor, 100) for descriptor in descriptors]


def leave(*_: object) -> None:
    os._exit(3)


@pytest.fixture
def worker() -> Iterator[workers.Worker]:
    with workers.started(1), workers.borrowed() as found:
        yield found[0]


def test_calls_are_answered_in_their_order_by_another_process(worker: workers.Worker) -> None:
    worker.ask(os.getpid)
    worker.ask(operator.add, 2, 3)
    worker.ask(operator.mul, b"ab", 2)
    assert worker.waiting == 3
    assert worker.answer() != os.getpid()
    assert (worker.answer(), worker.answer(), worker.waiting) == (5, b"abab", 0)


def test_what_is_larger_than_a_socket_holds_arrives_whole(worker: workers.Worker) -> None:
    worker.ask(operator.mul, b"0123456789", 1_000_000)
    assert worker.answer() == b"0123456789" * 1_000_000


def test_a_call_that_fails_is_told_and_the_next_one_is_made(worker: workers.Worker) -> None:
    worker.ask(operator.truediv, 1, 0)
    with pytest.raises(workers.Failed, match="ZeroDivisionError"):
        worker.answer()
    worker.ask(operator.add, 1, 1)
    assert worker.answer() == 2


def test_a_result_that_cannot_be_sent_is_a_failed_call(worker: workers.Worker) -> None:
    worker.ask(operator.attrgetter, "x")
    with pytest.raises(workers.Failed, match="ValueError"):
        worker.answer()
    worker.ask(operator.add, 1, 1)
    assert worker.answer() == 2


def test_descriptors_go_along(worker: workers.Worker) -> None:
    read, write = os.pipe()
    os.write(write, b"through a pipe")
    worker.ask(read_all, descriptors=(read,))
    assert worker.answer() == [b"through a pipe"]
    os.close(read)
    os.close(write)


def test_one_that_is_gone_is_told_and_not_lent_again() -> None:
    with workers.started(1):
        with workers.borrowed() as found:
            found[0].ask(leave)
            with pytest.raises(workers.Failed, match="gone"):
                found[0].answer()
        with workers.borrowed() as found:
            assert found == []


def test_one_that_did_not_answer_is_ended() -> None:
    with workers.started(1):
        with workers.borrowed() as found:
            found[0].ask(os.getpid)
            pid = found[0].answer()
            found[0].ask(time.sleep, 60)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_is_lent_to_one_at_a_time() -> None:
    with workers.started(2):
        with workers.borrowed(1) as first, workers.borrowed() as second, workers.borrowed() as third:
            assert (len(first), len(second), len(third)) == (1, 1, 0)
            assert first != second
        with workers.borrowed() as found:
            assert len(found) == 2


def test_without_a_start_there_are_none() -> None:
    with workers.borrowed() as found:
        assert found == []


def test_it_is_done_when_the_answer_is_there(worker: workers.Worker) -> None:
    read, write = os.pipe()
    worker.ask(read_all, descriptors=(read,))
    assert not worker.is_done()
    os.write(write, b"now")
    assert worker.answer() == [b"now"]
    os.close(read)
    os.close(write)


def test_a_program_may_have_thousands_of_descriptors(worker: workers.Worker) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3000:
        pytest.skip("no more than select(2) takes are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    try:
        low = worker._connection
        worker._connection = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, 2000))
        low.close()
        worker.ask(operator.mul, b"0123456789", 100_000)
        assert workers.ready([worker]) == [worker.fileno()]
        assert worker.is_done()
        assert worker.answer() == b"0123456789" * 100_000
        assert not worker.is_done()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_none_outlives_the_program_however_it_ends() -> None:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    pids = [int(word) for word in program.stdout.readline().split()]
    program.send_signal(signal.SIGKILL)
    program.wait(30)
    program.stdout.close()
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.01)
