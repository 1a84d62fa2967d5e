"""Build arguments that mean something of their own, by the names that BuildKit gave them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from strata_builder import errors
from strata_builder.dockerfile import instructions as ins

HOSTNAME: Final = "BUILDKIT_SANDBOX_HOSTNAME"
CACHE_NAMESPACE: Final = "BUILDKIT_CACHE_MOUNT_NS"
KEEP_GIT_DIR: Final = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?")
_TRUE: Final = ("1", "t", "T", "true", "True", "TRUE")


def hostname(given: Mapping[str, str]) -> str:
    """The name of the machine that steps are to see; empty where nobody asks.

    Raises InvalidSpec for what is no host name of at most 64 characters, the most that Linux has (uname(2)): it is written
    into the hosts file of each step.
    """
    name = given.get(HOSTNAME, "")
    if name and not _NAME.fullmatch(name):
        raise errors.InvalidSpec(
            f"{HOSTNAME}={name[:100]!r} is no host name",
            hint="give at most 64 letters, digits, '-', '_' and '.', or leave the argument out",
        )
    return name


def cache_id(mount: ins.Mount, given: Mapping[str, str]) -> str:
    """Under which name a cache mount is kept: builds of different namespaces share none."""
    own, namespace = mount.id or mount.target, given.get(CACHE_NAMESPACE, "")
    return f"{namespace}/{own}" if namespace else own


def keep_git_dir(given: Mapping[str, str]) -> bool:
    """Whether a context from git keeps its `.git`."""
    return given.get(KEEP_GIT_DIR, "") in _TRUE
