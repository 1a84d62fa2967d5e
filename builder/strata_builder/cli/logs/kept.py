"""What is asked of the registry that may have a log: which of its artifacts, and which log in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Final

from strata_builder import contract, errors
from strata_builder.buildlog import artifact, text
from strata_builder.oci import errors as oci_errors
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.client import Registry

_TAGS: Final = 20  # artifacts of one repository that are looked at


class LogGone(errors.BuildError):
    """Nothing is kept of what was asked for."""

    reason = "InvalidSpec"


def of_attempt(tag: str, number: int, attempt: int) -> Callable[[Registry, str], list[text.Line]]:
    """A question for `places.Places.ask`: the lines of an attempt, 0 being the last. It raises LogGone, RegistryError."""

    def ask(registry: Registry, repository: str) -> list[text.Line]:
        there = artifact.entries(registry, repository, tag)
        found = next((e for e in there if e.number == number and attempt in (0, e.attempt)), None)
        if found is None:
            raise LogGone(f"{registry.host}/{repository}:{tag} keeps {listed(there)}")
        return [text.parsed(line) for line in artifact.lines(registry, repository, found)]

    return ask


def listed(there: Iterable[artifact.Entry]) -> str:
    """The logs that there are, for people."""
    names = [f"{entry.number}/{entry.attempt}" for entry in there]
    return f"those of (build/attempt) {', '.join(names[:30])}" if names else "none"


def everything(registry: Registry, repository: str) -> list[artifact.Entry]:
    """The logs of every ImageBuild that writes to a repository."""
    found: list[artifact.Entry] = []
    tags = [tag for tag in registry.tags(repository) if tag.startswith(contract.LOG_TAG_PREFIX)]
    for tag in tags[:_TAGS]:
        # One that is being replaced; another's.
        with contextlib.suppress(registry_errors.NotFound, errors.LayerError, oci_errors.ImageInvalid):
            found += artifact.entries(registry, repository, tag)
    return found
