"""The namespaces in which a build on a host makes its mounts: root's own mount namespace, or a user namespace.

user_namespaces(7), newuidmap(1), subuid(5).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from strata_builder import errors
from strata_builder.frozen import frozen
from strata_builder.rootfs import kernel

_LEAST: Final = 1000
_LAYERS_ONLY: Final = "without that, images can be built whose Dockerfile has no RUN"


@frozen
class Range:
    """Subordinate ids: `count` of them from `start`."""

    start: int
    count: int


def enter_user_namespace(argv: Sequence[str]) -> int | None:
    """To be called before any thread starts. As root: this process gets a mount namespace of its own, and None is
    returned. As another user: `argv` (this program again) is run as root of a new user namespace, where the call
    returns None; here its exit code is returned.

    Raises NotSupported, saying what the machine lacks.
    """
    if os.geteuid() == 0:
        _own_mounts()
        return None
    uids, gids = ranges(Path("/etc/subuid")), ranges(Path("/etc/subgid"))
    _require_tools()
    return _run_inside(argv, _mapping(os.getuid(), uids), _mapping(os.getgid(), gids))


def require_user_namespace(uid_map: Path = Path("/proc/self/uid_map")) -> None:
    """In a pod a build with CAP_SYS_ADMIN has to be in a user namespace. Raises NoUserNamespace."""
    if uid_map.read_text().split() == ["0", "0", "4294967295"]:
        raise errors.NoUserNamespace(
            "this pod has the machine's own user ids, so a step of isolation UserNS could harm the node",
            hint="the node has to support `hostUsers: false` (containerd 2, runc 1.2, Linux 6.3 or newer each); "
            "or set spec.isolation to InPlace",
        )


def ranges(file: Path, uid: int | None = None) -> list[Range]:
    """The user's ranges in /etc/subuid or /etc/subgid. Raises NotSupported where there is none of use."""
    uid = os.getuid() if uid is None else uid
    name = _name(uid)
    lines = file.read_text().splitlines() if file.exists() else []
    fields = [line.split(":") for line in lines]
    found = [
        Range(int(start), int(count))
        for owner, start, count in (f for f in fields if len(f) == 3)
        if owner in (name, str(uid)) and start.isdigit() and count.isdigit()
    ]
    if sum(each.count for each in found) < _LEAST:
        raise errors.NotSupported(
            f"RUN needs a range of subordinate ids for the user {name}, and {file} has none of {_LEAST} or more",
            hint=f"as root, add the line `{name}:100000:65536` to {file}; {_LAYERS_ONLY}",
        )
    return found


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _require_tools() -> None:
    for tool in ("newuidmap", "newgidmap"):
        if shutil.which(tool) is None:
            raise errors.NotSupported(
                f"RUN as an unprivileged user needs the program {tool}, which is not here",
                hint=f"install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora); {_LAYERS_ONLY}",
            )


def _mapping(own: int, found: Sequence[Range]) -> list[str]:
    """Arguments of newuidmap: root inside is the user, the others follow from 1."""
    triples, inside = [0, own, 1], 1
    for each in found:
        triples += [inside, each.start, each.count]
        inside += each.count
    return [str(number) for number in triples]


def _own_mounts() -> None:
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    except PermissionError as error:
        raise errors.NotSupported(
            f"RUN needs the right to make mounts, and this process has none: {error}",
            hint=f"in a container, give it CAP_SYS_ADMIN in a user namespace of its own; {_LAYERS_ONLY}",
        ) from error


def _run_inside(argv: Sequence[str], uids: Sequence[str], gids: Sequence[str]) -> int:
    """A child makes the namespace; only its parent, outside, may have the ids mapped."""
    made_read, made_write = os.pipe()
    mapped_read, mapped_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _inside(argv, made_write, mapped_read)
    os.close(made_write)
    os.close(mapped_read)
    try:
        with open(made_read, "rb") as made:
            refusal = made.read().decode()
        if refusal != "made":
            os.waitpid(pid, 0)
            raise _refused(refusal)
        _map("newuidmap", pid, uids)
        _map("newgidmap", pid, gids)
        os.write(mapped_write, b"m")
    finally:
        os.close(mapped_write)
    return _wait(pid)


def _inside(argv: Sequence[str], made: int, mapped: int) -> NoReturn:
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
        os.write(made, b"made")
        os.close(made)
        if os.read(mapped, 1):
            os.setgroups([])
            os.execvp(argv[0], list(argv))  # noqa: S606 -- this program again
    except OSError as error:
        os.write(made, str(error).encode())
    finally:
        os._exit(126)


def _refused(why: str) -> errors.NotSupported:
    return errors.NotSupported(
        f"RUN as an unprivileged user needs a user namespace, and this machine refuses one: {why}",
        hint="as root, allow them: `sysctl user.max_user_namespaces=15000`, and where they exist "
        f"`kernel.unprivileged_userns_clone=1`, `kernel.apparmor_restrict_unprivileged_userns=0`; {_LAYERS_ONLY}",
    )


def _map(tool: str, pid: int, triples: Sequence[str]) -> None:
    import subprocess

    done = subprocess.run([tool, str(pid), *triples], check=False, capture_output=True, text=True)
    if done.returncode:
        raise errors.NotSupported(
            f"{tool} could not map the ids of /etc/sub{'uid' if tool == 'newuidmap' else 'gid'}: {done.stderr.strip()}",
            hint=f"{tool} has to be setuid root or have its file capability, outside of containers; {_LAYERS_ONLY}",
        )


def _wait(pid: int) -> int:
    """The exit code of `pid`; signals that end programs are passed on to it meanwhile."""
    wanted = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    before = {number: signal.signal(number, lambda n, _: os.kill(pid, n)) for number in wanted}
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code
