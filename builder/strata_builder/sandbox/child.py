"""A step's first process, from the fork to its program: makes the namespaces and the mounts, and gives up its rights.

Forked by `server`, which is outside: it sees the end of this process, and its death is this one's.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import marshal
import os
import select
import signal
import socket
import struct
import types
from typing import Any, NoReturn

from strata_builder import errors, frozen
from strata_builder.rootfs import kernel, stack
from strata_builder.sandbox import command, mounts, privileges, request, seccomp

_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_REPORT = 3
_HIGHEST = 2**31 - 1  # that a descriptor could be


def prepare() -> None:
    """What would be the same in each step's process, done once in the one from which they are forked."""
    with contextlib.suppress(errors.NotSupported):  # which each step will say
        seccomp.prepared(seccomp.program(seccomp.machine()))
    privileges.unwanted()
    for module in (command, request, stack):
        _compile_classes(module)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}:
        signal.signal(number, signal.SIG_DFL)  # what is ignored here stays so in programs
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _compile_classes(module: types.ModuleType) -> None:
    """Frozen classes compile their methods for the first instance."""
    for each in vars(module).values():
        if isinstance(each, type) and frozen.is_frozen(each):
            with contextlib.suppress(TypeError):  # most want arguments
                each()


def main(server: int, control: int, output: int, report: int) -> NoReturn:
    """Becomes the step that `control` asks for; see `server.Pipes`. `server` is a descriptor of its process."""
    try:
        _end_with_parent()
        if select.select([server], [], [], 0)[0]:  # it ended before
            os._exit(1)
        os.setsid()
        _keep_only(control, output, report)
        os.umask(0o022)
        _run(request.decode(_received()))
    except Exception as error:  # noqa: BLE001 -- whatever it is, the builder has to hear of it
        tell(_REPORT, failed=reason(error))
    finally:
        os._exit(1)


def tell(report: int, **what: Any) -> None:
    data = marshal.dumps(what)
    os.write(report, len(data).to_bytes(request.LENGTH, "big") + data)


def reason(error: Exception) -> dict[str, str]:
    """What a report says of a step that did not come to run."""
    if isinstance(error, errors.BuildError):
        return {"class": type(error).__name__, "message": error.message, "hint": error.hint}
    return {
        "class": "InfrastructureFailed",
        "message": f"the step's namespaces could not be set up: {error}",
        "hint": "",
    }


def _end_with_parent() -> None:
    """To be said again after a change of identity, which makes the kernel forget it: PR_SET_PDEATHSIG(2const)."""
    kernel.checked(kernel.libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def _keep_only(control: int, output: int, report: int) -> None:
    """Standard input, output and error, and _REPORT, which the program does not get."""
    os.dup2(control, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if report != _REPORT:
        os.dup2(report, _REPORT, inheritable=False)
    os.closerange(_REPORT + 1, _HIGHEST)


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


def _run(wanted: request.Request) -> NoReturn:
    asked = wanted.command
    code = seccomp.program(seccomp.machine())
    kernel.unshare(_namespaces(asked.network))
    _name(asked.hostname)
    if asked.network == "none":
        _raise_loopback()
    tell(_REPORT, made=mounts.enter(wanted))
    _input(asked.stdin)
    _directory(asked.cwd)
    seccomp.install(code)
    _become(wanted)


def _namespaces(network: str) -> int:
    """Besides that of processes, which is there."""
    flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
    return flags | kernel.CLONE_NEWNET if network == "none" else flags


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
    with contextlib.suppress(OSError):  # it is there, as a rule
        os.chdir(path)
        return
    try:
        os.makedirs(path, 0o755, exist_ok=True)
        os.chdir(path)
    except OSError as error:
        raise errors.DockerfileError(
            f"the working directory {os.fsdecode(path)} cannot be entered: {error.strerror}",
            hint="let WORKDIR name a directory",
        ) from error


def _become(wanted: request.Request) -> NoReturn:
    asked = wanted.command
    privileges.drop(asked.uid, asked.gid, asked.groups)
    _end_with_parent()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(asked.argv[0], asked.argv, dict(asked.env))  # noqa: S606 -- there is no shell to want
    except OSError as error:
        os.write(2, f"exec {asked.argv[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
        os._exit(127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126)
