"""What a delivery tells of, by the headers alone. Pure.

The body is not looked at: which branch has moved is found out by asking the repository, which has to be done anyway.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


class Kind(enum.Enum):
    PUSH = "push"  # a branch or tag may have moved
    PING = "ping"  # the forge tries the URL
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Delivery:
    """`forge` is of a closed list; `event` is in the forge's own words, at most 60 printable characters."""

    forge: str
    event: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Forge:
    name: str
    header: str
    pushes: frozenset[str]
    pings: frozenset[str] = frozenset()


#: The first whose header is there; Gitea and Forgejo send those of others as well.
_FORGES: Final = (
    _Forge("forgejo", "X-Forgejo-Event", frozenset({"push", "create"})),
    _Forge("gitea", "X-Gitea-Event", frozenset({"push", "create"})),
    _Forge("gogs", "X-Gogs-Event", frozenset({"push", "create"})),
    _Forge("github", "X-GitHub-Event", frozenset({"push", "create"}), frozenset({"ping"})),
    _Forge("gitlab", "X-Gitlab-Event", frozenset({"Push Hook", "Tag Push Hook", "System Hook"})),
    _Forge(
        "bitbucket",
        "X-Event-Key",
        frozenset({"repo:push", "repo:refs_changed", "mirror:repo_synchronized"}),
        frozenset({"diagnostics:ping"}),
    ),
)
FORGES: Final = (*(forge.name for forge in _FORGES), "generic")


def read(headers: Mapping[str, str]) -> Delivery:
    """The delivery with these headers, whose names are found in any case."""
    for forge in _FORGES:
        if event := headers.get(forge.header):
            kind = Kind.PUSH if event in forge.pushes else Kind.PING if event in forge.pings else Kind.OTHER
            return Delivery(forge.name, _shown(event), kind)
    return Delivery("generic", "push", Kind.PUSH)


def _shown(event: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in event[:60])
