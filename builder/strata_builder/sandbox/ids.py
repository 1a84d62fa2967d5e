"""Which users and groups a step can have: those that the builder's user namespace knows. user_namespaces(7)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from strata_builder import errors

_PROCESS: Final = Path("/proc/self")
_HINT: Final = (
    "choose a number that it has; or give it more: to a pod by spec.isolation InPlace, which has all, "
    "to `strata build` by /etc/subuid and /etc/subgid"
)


def require(users: Iterable[int], groups: Iterable[int], process: Path = _PROCESS) -> None:
    """Raises NotSupported for the first that the kernel would refuse to make the owner of anything."""
    for what, wanted, name in (("user", users, "uid_map"), ("group", groups, "gid_map")):
        known = _ranges((process / name).read_text())
        for number in wanted:
            if not any(number in each for each in known):
                has = ", ".join(f"{each.start} to {each.stop - 1}" for each in known)
                raise errors.NotSupported(
                    f"the step asks for the {what} {number}, and the builder's user namespace has {what}s {has}",
                    hint=_HINT,
                )


def _ranges(text: str) -> list[range]:
    """Of the lines `inside outside count`."""
    rows = [[int(word) for word in line.split()] for line in text.splitlines()]
    return [range(inside, inside + count) for inside, _, count in rows]
