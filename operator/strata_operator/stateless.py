"""kopf's memory of objects, switched off: it is for handlers of changes, and ours are told of events as they come.

For each event kopf makes copies of the whole object to find out what has changed, 0.2 ms for a finished ImageBuild, twenty
times a build; what these give it is the same for every object.
"""

from __future__ import annotations

from typing import Any

import kopf


class NoEssence(kopf.DiffBaseStorage):
    """Every object is as it was last time."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """Nothing is written to objects."""


class NoProgress(kopf.ProgressStorage):
    """No handler has begun anything that it would have to go on with."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """Nothing is written to objects."""

    def purge(self, **_: Any) -> None:
        """There is nothing to remove."""

    def touch(self, **_: Any) -> None:
        """Nothing is written to objects."""
