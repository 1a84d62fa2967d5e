"""Who is to be told of what: the sinks of the chart's notifications.sinks, as STRATA_NOTIFICATION_SINKS has them. Pure."""

from __future__ import annotations

import fnmatch
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

#: Of the CloudEvents' type; what follows is one of TRANSITIONS.
TYPE_PREFIX: Final = "build.strata.imagebuild."
#: All that is told, see docs/notifications.md. Receivers hold these names.
TRANSITIONS: Final = (
    "queued",
    "waiting",
    "started",
    "retrying",
    "succeeded",
    "unchanged",
    "failed",
    "cancelled",
    "superseded",
    "suspended",
)
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_FIELDS: Final = frozenset({"name", "url", "mode", "types", "namespaces", "secretFolder"})
MODES: Final = ("Structured", "Binary")


@dataclass(frozen=True, slots=True)
class Sink:
    """`secret_folder` holds the mounted Secret, empty without one; no `types` or `namespaces` means all of them."""

    name: str
    url: str
    mode: str = "Structured"
    types: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    secret_folder: str = ""

    def wants(self, transition: str, namespace: str) -> bool:
        """Whether it is to be told of a `transition` (a name of TRANSITIONS) in `namespace`."""
        if self.types and transition not in self.types:
            return False
        return not self.namespaces or any(fnmatch.fnmatchcase(namespace, pattern) for pattern in self.namespaces)


def parse(documents: Iterable[Mapping[str, Any]]) -> tuple[Sink, ...]:
    """The sinks of the setting. Raises ValueError naming the sink and the field."""
    found = tuple(_sink(document) for document in documents)
    names = [sink.name for sink in found]
    if double := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two sinks are named {double[0]!r}")
    return found


def problem(documents: Iterable[Mapping[str, Any]]) -> str | None:
    """What is wrong with the setting, None if nothing is."""
    try:
        parse(documents)
    except ValueError as e:
        return str(e)
    return None


def _sink(document: Mapping[str, Any]) -> Sink:
    name = document.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"sink {name!r}: name must be 1 to 32 lower-case letters, digits and '-'")
    if unknown := sorted(document.keys() - _FIELDS):
        raise ValueError(f"sink {name}: unknown field {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    mode = document.get("mode") or "Structured"
    if mode not in MODES:
        raise ValueError(f"sink {name}: mode must be {' or '.join(MODES)}, not {mode!r}")
    return Sink(
        name=name,
        url=_url(name, document.get("url")),
        mode=mode,
        types=tuple(_transition(name, item) for item in _texts(name, "types", document.get("types"))),
        namespaces=_texts(name, "namespaces", document.get("namespaces")),
        secret_folder=str(document.get("secretFolder") or ""),
    )


def _url(name: str, url: Any) -> str:
    """An URL may hold what opens a chat room, so no message repeats it."""
    try:
        parts = urllib.parse.urlsplit(url if isinstance(url, str) else "")
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that hold no IPv6 address, or a port that is none
        good = False
    if not good:
        raise ValueError(f"sink {name}: url must begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise ValueError(f"sink {name}: url holds credentials; put them into the Secret's key authorization")
    return str(url)


def _texts(name: str, field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value or [], list) or not all(isinstance(item, str) and item for item in value or ()):
        raise ValueError(f"sink {name}: {field} must be a list of texts")
    return tuple(value or ())


def _transition(name: str, text: str) -> str:
    short = text.removeprefix(TYPE_PREFIX)
    if short not in TRANSITIONS:
        raise ValueError(f"sink {name}: types has {text!r}; known are {', '.join(TRANSITIONS)}")
    return short
