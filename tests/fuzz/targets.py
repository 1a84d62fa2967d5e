"""All that is fuzzed in this process alone; `test_fuzz_registry` has what needs a server."""

from __future__ import annotations

from typing import Final

from fuzz import archives, documents, languages
from fuzz.target import Target

ALL: Final[tuple[Target, ...]] = (*languages.TARGETS, *archives.TARGETS, *documents.TARGETS)


def named(name: str) -> Target:
    return next(target for target in ALL if target.name == name)
