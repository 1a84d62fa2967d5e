"""What must not be after a campaign, and of which of the four kinds it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOST: Final = "lost"
TWICE: Final = "pushed twice"
DIGEST: Final = "wrong digest"
STATUS: Final = "wrong status"
KINDS: Final = (LOST, TWICE, DIGEST, STATUS)


@dataclass(frozen=True, slots=True)
class Problem:
    """`name` is the ImageBuild's; empty where it is nobody's alone."""

    kind: str
    text: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"
