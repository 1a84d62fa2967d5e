"""What is in a directory, as the file system tells."""

from __future__ import annotations

import errno
import os
from typing import Final

from strata_builder.context import listing, stable, tree
from strata_builder.entries import Kind

#: What describes this machine rather than the file; a label of SELinux would make equal contexts differ.
_FOREIGN_XATTRS: Final = ("security.selinux", "security.ima", "security.evm", "system.", "trusted.", "user.overlay.")


def read(descriptor: int, folder: bytes) -> listing.Listing:
    """The directory behind `descriptor`, `folder` in messages. Raises OSError, and LayerError if a name is gone again."""
    found = listing.Listing()
    for name in sorted(map(os.fsencode, os.listdir(descriptor))):
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            kind = listing.kind_of(status)
            if kind is not None:
                found.add(name, status, _more(descriptor, name, kind, status))
        except FileNotFoundError as e:
            raise stable.changed(tree.join(folder, name)) from e
    return found


def _more(parent: int, name: bytes, kind: Kind, status: os.stat_result) -> listing.More | None:
    if kind is Kind.FILE or kind is Kind.DIR:
        xattrs = _xattrs(parent, name)
        return listing.More(xattrs=xattrs) if xattrs else None
    if kind is Kind.SYMLINK:
        return listing.More(link=os.readlink(name, dir_fd=parent))
    return listing.More(device=status.st_rdev) if kind is not Kind.FIFO else None


def _xattrs(parent: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """File capabilities and users' own attributes; a file system or a rule that gives none is no error."""
    place = b"/proc/self/fd/%d/%s" % (parent, name)
    try:
        keys = os.listxattr(place, follow_symlinks=False)
        if not keys:
            return ()
        keys = [key for key in sorted(keys) if not key.startswith(_FOREIGN_XATTRS)]
        return tuple((os.fsencode(key), os.getxattr(place, key, follow_symlinks=False)) for key in keys)
    except OSError as e:
        if e.errno in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA, errno.ENOENT):
            return ()
        raise
