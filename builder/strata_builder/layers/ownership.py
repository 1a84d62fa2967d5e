"""Owners, modes and attributes of what was unpacked, and what becomes of those that the kernel refuses to set."""

from __future__ import annotations

import enum
import errno
import functools
import os
import stat
from collections.abc import Callable
from typing import Final

from strata_builder import errors
from strata_builder.entries import Entry
from strata_builder.layers import paths, recorded

_REFUSED: Final = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.EOVERFLOW)
#: Of an attribute: a name of more than 255 bytes, a value of more than 64 KiB (xattr(7), "Filesystem differences").
_IMPOSSIBLE: Final = (errno.ERANGE, errno.E2BIG)


class OwnerPolicy(enum.Enum):
    """What happens with an owner, a device or an attribute that the kernel does not let this process set.

    STRICT: LayerError. RECORD: the rest is written, and the entry goes to the list of what was skipped. IGNORE: owners
    are not even tried (an unprivileged user unpacks for himself), the others as with RECORD.
    """

    STRICT = "strict"
    RECORD = "record"
    IGNORE = "ignore"


class Ownership:
    """Sets them by `policy`; what was left out is appended to `skipped`."""

    def __init__(self, policy: OwnerPolicy, skipped: list[recorded.Skipped]) -> None:
        self._policy = policy
        self._skipped = skipped

    def owner_and_mode(self, entry: Entry, fd: int) -> None:
        """Owner first, since changing it clears setuid bits and capabilities."""
        owned = self.owner(entry, functools.partial(os.fchown, fd))
        os.fchmod(fd, mode_of(entry, owned))

    def attributes(self, entry: Entry, fd: int) -> None:
        for name, value in entry.xattrs:
            self.attribute(entry.path, name, functools.partial(os.setxattr, fd, name, value))

    def owner(self, entry: Entry, change: Callable[[int, int], None]) -> bool:
        """Has `change(uid, gid)` set the owner; whether it is the entry's own now."""
        if self._policy is OwnerPolicy.IGNORE:
            return True
        try:
            change(entry.uid, entry.gid)
        except OSError as error:
            self.refuse(entry.path, recorded.OWNER, error)
            change(os.geteuid(), os.getegid())  # below a directory with the set-group-id bit it got that one's group
            return False
        return True

    def attribute(self, path: bytes, name: bytes, change: Callable[[], None]) -> None:
        """Has `change` set or remove one."""
        try:
            change()
        except OSError as error:
            self.refuse(path, recorded.ATTRIBUTE + name.decode("utf-8", "backslashreplace"), error)

    def refuse(self, path: bytes, what: str, error: OSError) -> None:
        """The kernel did not do it. Raises `error` if that is no refusal, and LayerError if the policy is strict or no Linux
        could do it."""
        if error.errno in _IMPOSSIBLE:
            raise errors.LayerError(f"the {what} of {paths.show(path)} is larger than Linux takes") from error
        if error.errno not in _REFUSED:
            raise error
        if self._policy is OwnerPolicy.STRICT:
            raise errors.LayerError(
                f"the {what} of {paths.show(path)} cannot be set here: {error.strerror}",
                hint="unpack as root, in a user namespace that maps the ids, or on a file system that has attributes",
            ) from error
        self._skipped.append(recorded.Skipped(path, what, error.strerror or str(error)))


def mode_of(entry: Entry, owned: bool) -> int:
    """A setuid bit must not give the rights of whoever owns the file in its owner's stead."""
    return entry.mode if owned else entry.mode & ~(stat.S_ISUID | stat.S_ISGID)
