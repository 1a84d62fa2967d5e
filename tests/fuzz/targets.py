"""All that is fuzzed."""

from __future__ import annotations

from typing import Final

from fuzz import archives, clients, documents, hooks, languages
from fuzz.target import Target

ALL: Final[tuple[Target, ...]] = (
    *languages.TARGETS,
    *archives.TARGETS,
    *documents.TARGETS,
    *hooks.TARGETS,
    clients.TARGET,
)


def named(name: str) -> Target:
    return next(target for target in ALL if target.name == name)
