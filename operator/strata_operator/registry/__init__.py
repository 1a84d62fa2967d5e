"""The Registry kind: a registry that the operator runs, or one that is there already."""

from __future__ import annotations

from collections.abc import Sequence

from strata_operator import controller


def controllers(frame: controller.Frame) -> Sequence[controller.Controller]:
    """The controllers of this kind."""
    del frame
    return ()
