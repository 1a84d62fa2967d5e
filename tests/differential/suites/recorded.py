"""A suite's cases as its recorder left them: folders, and cases.json that says how each is built."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FILE = "cases.json"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One build of a suite. `dockerfile` is its path; `settings` are those of the corpus's format (cases.py).

    `fails` says that the suite expects a refusal, None that it does not say. `needs` is what it asks for that is no
    matter of a Dockerfile, or empty. `served` holds what a server of files has.
    """

    name: str
    context: Path
    dockerfile: Path
    settings: tuple[tuple[str, str], ...] = ()
    fails: bool | None = None
    needs: str = ""
    named: dict[str, Path] = field(default_factory=dict)
    secrets: dict[str, Path] = field(default_factory=dict)
    served: Path | None = None


def read(folder: Path) -> list[Recorded]:
    """All cases of a recording."""
    items = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return [case for item in items for case in _by_platform(_case(folder, item))]


def _by_platform(case: Recorded) -> Iterator[Recorded]:
    """An index has its images in an order of the builder's: each of several is a case of its own, NAME@PLATFORM."""
    asked = dict(case.settings).get("platform", "")
    if "," not in asked:
        yield case
        return
    for platform in dict.fromkeys(asked.split(",")):
        settings = tuple((name, platform if name == "platform" else value) for name, value in case.settings)
        yield replace(case, name=f"{case.name}@{platform}", settings=settings)


def _case(folder: Path, item: dict[str, Any]) -> Recorded:
    context = folder / item["context"]
    settings = [("arg", f"{name}={value}") for name, value in sorted((item.get("args") or {}).items())]
    settings += [(name, value) for name, value in item.get("settings") or []]
    return Recorded(
        item["name"],
        context,
        folder / item["dockerfile"] if item.get("apart") else context / item["dockerfile"],
        tuple(settings),
        item.get("fails"),
        item.get("needs", ""),
        {name: folder / path for name, path in (item.get("named") or {}).items()},
        {name: folder / path for name, path in (item.get("secrets") or {}).items()},
        folder / item["served"] if item.get("served") else None,
    )
