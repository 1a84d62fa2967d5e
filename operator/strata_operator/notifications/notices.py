"""What is told, before it has a form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Notice:
    """A transition (of sinks.TRANSITIONS) of the ImageBuild `namespace`/`name`.

    `id` tells it from all others of the cluster; `time` is RFC 3339, empty = when it is told.
    """

    transition: str
    id: str
    namespace: str
    name: str
    time: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
