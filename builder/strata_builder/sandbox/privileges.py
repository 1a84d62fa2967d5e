"""Who a step is: owner, groups and capabilities, given up for good just before its program starts. And what the builder
is to it: a process that it cannot look into."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from collections.abc import Sequence
from typing import Final

from strata_builder.rootfs import kernel

#: Docker's default set, by the numbers of <linux/capability.h>: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID
#: SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP.
KEPT: Final = frozenset((0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31))
_VERSION_3: Final = 0x20080522
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_CAP_AMBIENT: Final = 47
_AMBIENT_CLEAR_ALL: Final = 4
_Header, _Sets = ctypes.c_uint32 * 2, ctypes.c_uint32 * 6  # structs of <linux/capability.h>


def hide_memory() -> None:
    """Closes this process's memory, descriptors and environment to every other of the container, root's too: proc(5),
    "ptrace access mode". Raises OSError."""
    kernel.checked(kernel.libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def drop(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Keeps at most the capabilities KEPT (none as another user than root) and becomes `uid`. Raises OSError."""
    prctl = kernel.libc().prctl
    for number in unwanted():
        kernel.checked(prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), f"drop capability {number}")
    _limit_own()
    kernel.checked(prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0), "clear ambient capabilities")
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


@functools.cache
def unwanted() -> tuple[int, ...]:
    """The capabilities that this kernel knows, without KEPT."""
    prctl = kernel.libc().prctl
    known = itertools.takewhile(lambda number: prctl(_PR_CAPBSET_READ, number, 0, 0, 0) != -1, itertools.count())
    return tuple(number for number in known if number not in KEPT)


def _limit_own() -> None:
    """Effective and permitted become what of KEPT there is, inheritable nothing: capset(2)."""
    header, sets = _Header(_VERSION_3, 0), _Sets()
    libc = kernel.libc()
    kernel.checked(libc.capget(ctypes.byref(header), ctypes.byref(sets)), "read capabilities")
    wanted = sum(1 << number for number in KEPT)
    for half in (0, 1):
        permitted = sets[half * 3 + 1] & (wanted >> (32 * half)) & 0xFFFFFFFF
        sets[half * 3], sets[half * 3 + 1], sets[half * 3 + 2] = permitted, permitted, 0
    kernel.checked(libc.capset(ctypes.byref(header), ctypes.byref(sets)), "set capabilities")
