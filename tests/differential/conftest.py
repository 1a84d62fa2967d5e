"""How many random cases a run has, and which."""

from __future__ import annotations

from support.effort import effort, seed

__all__ = ["effort", "seed"]
