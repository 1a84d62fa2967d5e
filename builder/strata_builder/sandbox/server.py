"""The process that starts steps: forks the first process of each one's namespaces, and waits for it.

Started by `launcher.Launcher` as a fresh interpreter, once a build, so that what a step's start needs is imported when
it is asked for. Nothing of the builder's memory is in it, and nothing of one step in another: each step's own process
alone reads its request. The argument is the socket on which messages of three descriptors (`request.Pipes`) ask for steps. When
that ends, because the builder has closed it or is no more, all steps end, and this process.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable

from strata_builder.frozen import frozen
from strata_builder.rootfs import kernel
from strata_builder.sandbox import child
from strata_builder.sandbox.request import Pipes


def main() -> None:
    asked = socket.socket(fileno=int(sys.argv[1]))
    asked.set_inheritable(False)
    child.prepare()
    gc.freeze()  # a collection would write to pages that are shared with every step's process
    gc.disable()
    server = _Server(asked)
    while server.turn():
        pass
    server.end()
    os._exit(0)


@frozen
class _Step:
    pid: int
    ended: int  # a descriptor that is readable then
    pipes: Pipes


class _Server:
    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._own = os.pidfd_open(os.getpid())
        self._steps: dict[int, _Step] = {}  # those that run, by `ended` and by `pipes.control`
        self._poll = select.poll()
        self._poll.register(asked, select.POLLIN)

    def turn(self) -> bool:
        """Waits for the next event and deals with it; False once the builder has gone."""
        fd, _ = self._poll.poll()[0]  # no other: dealing with one may close another's, and give its number away
        step = self._steps.get(fd)
        if step is None:
            return self._take()
        if fd == step.ended:
            self._bury(step)
        else:
            self._kill(step)
        return True

    def end(self) -> None:
        steps = set(self._steps.values())
        for step in steps:
            self._kill(step)
        for step in steps:
            self._bury(step)

    def _take(self) -> bool:
        message, fds, _, _ = socket.recv_fds(self._asked, 1, len(Pipes._fields), socket.MSG_CMSG_CLOEXEC)
        if not message:
            return False
        if len(fds) == len(Pipes._fields):
            self._start(Pipes(*fds))
        else:  # there are too many open already: the builder sees these closed, and that nothing was reported
            _close(fds)
        return True

    def _start(self, pipes: Pipes) -> None:
        try:
            pid = kernel.fork(kernel.CLONE_NEWPID)
        except OSError as error:
            child.tell(pipes.report, failed=child.reason(error))
            _close(pipes)
            return
        if pid == 0:
            child.main(self._own, *pipes)
        step = _Step(pid, os.pidfd_open(pid), pipes)
        self._steps[step.ended] = self._steps[pipes.control] = step
        self._poll.register(step.ended, select.POLLIN)
        self._poll.register(pipes.control, 0)  # whether it has ended is told; what it carries is the step's to read

    def _kill(self, step: _Step) -> None:
        """With it ends all of its namespace; `_bury` follows."""
        if self._steps.pop(step.pipes.control, None):
            self._poll.unregister(step.pipes.control)
        os.kill(step.pid, signal.SIGKILL)

    def _bury(self, step: _Step) -> None:
        status = os.waitpid(step.pid, 0)[1]
        for fd in (step.ended, step.pipes.control):
            if self._steps.pop(fd, None):
                self._poll.unregister(fd)
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more
            child.tell(step.pipes.report, status=os.waitstatus_to_exitcode(status))
        _close((*step.pipes, step.ended))


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
