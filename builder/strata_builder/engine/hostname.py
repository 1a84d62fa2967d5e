"""The name of the machine that steps see. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from strata_builder import errors

ARGUMENT: Final = "BUILDKIT_SANDBOX_HOSTNAME"
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?")


def wanted(build_args: Mapping[str, str]) -> str:
    """What the build argument of BuildKit's asks for; empty where nobody asks.

    Raises InvalidSpec for what is no host name of at most 64 characters, the most that Linux has (uname(2)): it is written
    into the hosts file of each step.
    """
    name = build_args.get(ARGUMENT, "")
    if name and not _NAME.fullmatch(name):
        raise errors.InvalidSpec(
            f"{ARGUMENT}={name[:100]!r} is no host name",
            hint="give at most 64 letters, digits, '-', '_' and '.', or leave the argument out",
        )
    return name
