"""The filter of system calls under which a step runs, beyond what its missing capabilities forbid.

The same calls that Docker's default profile denies to a container without CAP_SYS_ADMIN: above all a step cannot make
user namespaces, in which it would have capabilities again. Classic BPF as in seccomp(2); x86_64 (with its 32-bit
programs), aarch64, riscv64.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Final

from strata_builder import errors
from strata_builder.rootfs import kernel

_CLONE: Final = {"x86_64": 56, "i386": 120, "generic": 220}
_SOCKET: Final = {"x86_64": 41, "i386": 359, "generic": 198}
_CLONE3: Final = 435
_DENIED: Final[Mapping[str, Sequence[int]]] = {
    "x86_64": (
        # mount umount2 pivot_root unshare setns keyctl add_key request_key bpf perf_event_open userfaultfd
        *(165, 166, 155, 272, 308, 250, 248, 249, 321, 298, 323),
        # kexec_load kexec_file_load init_module finit_module delete_module create_module query_module get_kernel_syms
        *(246, 320, 175, 313, 176, 174, 178, 177),
        # open_by_handle_at reboot swapon swapoff acct settimeofday clock_settime iopl ioperm lookup_dcookie nfsservctl
        *(304, 169, 167, 168, 163, 164, 227, 172, 173, 212, 180),
        # quotactl uselib sysfs _sysctl sethostname setdomainname syslog vhangup fanotify_init
        *(179, 134, 139, 156, 170, 171, 103, 153, 300),
    ),
    "i386": (
        # umount stime vm86 vm86old clock_settime64, then as above without kexec_file_load
        *(22, 25, 166, 113, 404),
        *(21, 52, 217, 310, 346, 288, 286, 287, 357, 336, 374),
        *(283, 128, 350, 129, 127, 167, 130),
        *(342, 88, 87, 115, 51, 79, 264, 110, 101, 253, 169),
        *(131, 86, 135, 149, 74, 121, 103, 111, 338),
    ),
    "generic": (
        *(40, 39, 41, 97, 268, 219, 217, 218, 280, 241, 282),
        *(104, 294, 105, 273, 106),
        *(265, 142, 224, 225, 89, 170, 112, 404, 18, 42),
        *(60, 161, 162, 116, 58, 262),
    ),
}
#: open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr quotactl_fd io_uring_setup io_uring_enter
#: io_uring_register pidfd_getfd open_tree_attr; the same numbers everywhere.
_DENIED_EVERYWHERE: Final = (428, 429, 430, 431, 432, 433, 442, 443, 425, 426, 427, 438, 467)

# AUDIT_ARCH_* of <linux/audit.h>, with the table of their numbers.
_ARCHITECTURES: Final[Mapping[str, Sequence[tuple[int, str]]]] = {
    "x86_64": ((0xC000003E, "x86_64"), (0x40000003, "i386")),
    "aarch64": ((0xC00000B7, "generic"),),
    "riscv64": ((0xC00000F3, "generic"),),
}
_NAMESPACES: Final = 0x7E020000  # CLONE_NEW*, all but the time namespace, whose bit clone(2) takes for a signal
_AF_VSOCK: Final = 40
_X32: Final = 0x40000000

_LOAD, _EQUAL, _GREATER_OR_EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the low half of the first argument
_ALLOW: Final = 0x7FFF0000
_LEAF: Final = 4  # numbers that are compared one after another
_ERROR: Final = 0x00050000
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2


@functools.cache
def program(machine: str) -> bytes:
    """The filter as an array of struct sock_filter. Raises NotSupported for a machine without a table."""
    if machine not in _ARCHITECTURES:
        raise errors.NotSupported(
            f"there is no system call filter for {machine} machines, and no step runs in a user namespace without one",
            hint=f"use one of {', '.join(sorted(_ARCHITECTURES))}, or the isolation InPlace",
        )
    code = [_op(_LOAD, _ARCHITECTURE)]
    for number, table in _ARCHITECTURES[machine]:
        body = _body(table)
        code += [_op(_EQUAL, number, 1, 0), _jump(len(body)), *body]
    return b"".join([*code, _refuse(errno.ENOSYS)])


def install(code: bytes) -> None:
    """Puts the calling thread under the filter, for good; needs CAP_SYS_ADMIN in its user namespace."""
    result = kernel.libc().prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(prepared(code)[0]), 0, 0)
    kernel.checked(result, "install the system call filter")


@functools.cache
def prepared(code: bytes) -> tuple[ctypes.Array[ctypes.c_char], ...]:
    """A struct sock_fprog, and the instructions to which it points."""
    buffer = ctypes.create_string_buffer(code, len(code))
    return ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))), buffer


def machine() -> str:
    return os.uname().machine


def _body(table: str) -> list[bytes]:
    """Of one architecture: always ends in a return."""
    code = [_op(_LOAD, _NUMBER)]
    if table == "x86_64":
        code += [_op(_GREATER_OR_EQUAL, _X32, 0, 1), _refuse(errno.ENOSYS)]
    code += [_op(_EQUAL, _CLONE3, 0, 1), _refuse(errno.ENOSYS)]  # its flags are in memory; libraries fall back to clone
    code += [_op(_EQUAL, _CLONE[table], 0, 4), _op(_LOAD, _ARGUMENT), _op(_ANY_BIT, _NAMESPACES, 0, 1)]
    code += [_refuse(errno.EPERM), _op(_RETURN, _ALLOW)]
    code += [_op(_EQUAL, _SOCKET[table], 0, 4), _op(_LOAD, _ARGUMENT), _op(_EQUAL, _AF_VSOCK, 0, 1)]
    code += [_refuse(errno.EPERM), _op(_RETURN, _ALLOW)]
    return code + _all_but(sorted((*_DENIED[table], *_DENIED_EVERYWHERE)))


def _all_but(denied: Sequence[int]) -> list[bytes]:
    """Allows every number that is not among `denied`, which are sorted. By halves: the kernel tries all numbers when the
    filter is installed."""
    if len(denied) > _LEAF:
        middle = len(denied) // 2
        low, high = _all_but(denied[:middle]), _all_but(denied[middle:])
        return [_op(_GREATER_OR_EQUAL, denied[middle], len(low), 0), *low, *high]
    tests = [_op(_EQUAL, number, len(denied) - at, 0) for at, number in enumerate(denied)]
    return [*tests, _op(_RETURN, _ALLOW), _refuse(errno.EPERM)]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _jump(count: int) -> bytes:
    return struct.pack("=HBBI", 0x05, 0, 0, count)


def _refuse(number: int) -> bytes:
    return _op(_RETURN, _ERROR | number)
