"""The helper process between the builder and a step: makes the namespaces, starts the step as their PID 1, waits.

Started by `userns.run` as a fresh interpreter, so that nothing of the builder's memory is in it. Its standard input
carries the length of the request, the request, and nothing more: when it ends, the step ends. Its argument is the
descriptor to report to, a JSON object a line: `made` (mount points), `failed` (before the program started), `status`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

from strata_builder import errors
from strata_builder.rootfs import kernel
from strata_builder.sandbox import mounts, privileges, request, seccomp

_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def main() -> None:
    os.umask(0o022)
    report = int(sys.argv[1])
    os.set_inheritable(report, False)
    try:
        wanted = request.decode(_received())
        status = _supervised(_start(wanted, report))
    except Exception as error:  # noqa: BLE001 -- whatever it is, the builder has to hear of it
        _tell(report, failed=_reason(error))
        sys.exit(1)
    _tell(report, status=os.waitstatus_to_exitcode(status))


def _received() -> bytes:
    (size,) = struct.unpack("!Q", _exactly(8))
    return _exactly(size)


def _exactly(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(0, min(size - len(data), 1 << 20))
        if not piece:
            raise errors.Cancelled("the builder went away")
        data += piece
    return bytes(data)


def _start(wanted: request.Request, report: int) -> int:
    flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
    if wanted.command.network == "none":
        flags |= kernel.CLONE_NEWNET
    kernel.unshare(flags)
    pid = os.fork()
    if pid == 0:
        _first_process(wanted, report)
    return pid


def _supervised(pid: int) -> int:
    """The wait status of `pid`; killed, and with it all of its namespace, when standard input ends."""
    fd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(0, select.POLLIN | select.POLLHUP)
    ready = {number for number, _ in poll.poll()}
    if fd not in ready:
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _first_process(wanted: request.Request, report: int) -> NoReturn:
    """PID 1 of the new namespaces, until it is the step's program."""
    try:
        kernel.checked(kernel.libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
        code = seccomp.program(seccomp.machine())
        _name(wanted.command.hostname)
        if wanted.command.network == "none":
            _raise_loopback()
        _tell(report, made=[os.fsdecode(path) for path in mounts.enter(wanted)])
        _input(wanted.command.stdin)
        _directory(wanted.command.cwd)
        seccomp.install(code)
        _become(wanted)
    except Exception as error:  # noqa: BLE001 -- as above
        _tell(report, failed=_reason(error))
    os._exit(1)


def _name(hostname: str) -> None:
    name = hostname.encode()
    kernel.checked(kernel.libc().sethostname(name, ctypes.c_size_t(len(name))), "set the host name")


def _raise_loopback() -> None:
    """Needs CAP_NET_ADMIN; without it the step has no interface at all, which is as good an absence of network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))[1]
        try:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
        except PermissionError:
            return


def _input(content: bytes | None) -> None:
    if content is None:
        fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    else:
        fd = os.memfd_create("stdin")
        with open(os.dup(fd), "wb") as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
    os.dup2(fd, 0)


def _directory(path: bytes) -> None:
    try:
        os.makedirs(path, 0o755, exist_ok=True)
        os.chdir(path)
    except OSError as error:
        raise errors.DockerfileError(
            f"the working directory {os.fsdecode(path)} cannot be entered: {error.strerror}",
            hint="let WORKDIR name a directory",
        ) from error


def _become(wanted: request.Request) -> NoReturn:
    command = wanted.command
    privileges.drop(command.uid, command.gid, command.groups)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvpe(command.argv[0], command.argv, dict(command.env))  # noqa: S606 -- there is no shell to want
    except OSError as error:
        print(f"exec {command.argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126)


def _reason(error: Exception) -> dict[str, str]:
    if isinstance(error, errors.BuildError):
        return {"class": type(error).__name__, "message": error.message, "hint": error.hint}
    return {
        "class": "InfrastructureFailed",
        "message": f"the step's namespaces could not be set up: {error}",
        "hint": "",
    }


def _tell(report: int, **what: Any) -> None:
    os.write(report, json.dumps(what).encode() + b"\n")
