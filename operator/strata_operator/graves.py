"""Which objects are gone, for as long as somebody may still tell of them as if they were there. Pure.

A deletion of our own is known before the watch tells of it, and answers, lists and events cross each other: what was sent
before a deletion may arrive after it.
"""

from __future__ import annotations

import math
from typing import Final

#: No version of it will ever count again: its deletion was accepted.
FOREVER: Final = math.inf


class Graves:
    """Versions by uid: one that is as old or older is of an object that is gone. Kept until two lists have come since."""

    def __init__(self) -> None:
        self._new: dict[str, float] = {}
        self._old: dict[str, float] = {}

    def bury(self, uid: str, version: float) -> None:
        self._new[uid] = max(version, self._of(uid))

    def holds(self, uid: str, version: float) -> bool:
        """Whether the object was gone as of `version` or later."""
        return self._of(uid) >= version

    def age(self) -> None:
        """A whole list was read: nobody tells any more of what was gone before the one before."""
        self._old, self._new = self._new, {}

    def _of(self, uid: str) -> float:
        return max(self._new.get(uid, -1.0), self._old.get(uid, -1.0))
