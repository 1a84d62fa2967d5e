"""What a registry tells of: the envelopes of CNCF distribution's notifications. Pure.

Only manifests that were pushed under a tag count; a tag is what a Dockerfile names. Whatever is malformed is skipped:
it comes from a registry that we run, and a lost hint only delays.
(distribution.github.io "Work with notifications", application/vnd.docker.distribution.events.v2+json.)
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

_EVENTS: Final = 1000
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class Pushed(NamedTuple):
    repository: str
    tag: str


def pushed(body: bytes) -> list[Pushed]:
    """What was pushed, each once, in order. Raises ValueError if `body` is no envelope."""
    try:
        document = json.loads(body)
    except RecursionError as e:
        raise ValueError("nested too deeply") from e
    events = document.get("events") if isinstance(document, dict) else None
    if not isinstance(events, list):
        raise ValueError("no list of events")
    found = (_pushed(event) for event in events[:_EVENTS])
    return list(dict.fromkeys(one for one in found if one is not None))


def _pushed(event: Any) -> Pushed | None:
    target = event.get("target") if isinstance(event, dict) and event.get("action") == "push" else None
    if not isinstance(target, dict):
        return None
    repository, tag = target.get("repository"), target.get("tag")
    if not isinstance(repository, str) or not isinstance(tag, str) or len(repository) > 255:
        return None
    return Pushed(repository, tag) if _REPOSITORY.fullmatch(repository) and _TAG.fullmatch(tag) else None
