"""What was asked of the API server, by whom: read from its own audit log, so that nothing is counted twice or left out."""

from __future__ import annotations

import json
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""

Watched = tuple[str, str]  # path, label selector
Asked = Mapping[tuple[str, str, str], int]  # of (verb, resource, subresource)
#: Verbs of the API server that change something.
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


class Audit:
    """Reads the log on from where it stood."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.watched: set[Watched] = set()
        """What the operator has watched, as far as the log was read."""

    def since(self) -> Counter[tuple[str, str, str]]:
        """Requests since the last call as (verb, resource, subresource), of the operator alone: `dry-run` is a verb
        of its own, and its kopf's watches and lists are `kopf watch` and `kopf list`."""
        found: Counter[tuple[str, str, str]] = Counter()
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                event = json.loads(line)
                who = _operator(event.get("userAgent", ""))
                if who is not None:
                    place = event.get("objectRef") or {}
                    verb = "dry-run" if "dryRun=All" in event["requestURI"] else event["verb"]
                    if verb == "watch":
                        self.watched.add(_watched(event["requestURI"]))
                    found[who + verb, place.get("resource", ""), place.get("subresource", "")] += 1
        return found


def _watched(address: str) -> Watched:
    parts = urllib.parse.urlsplit(address)
    return parts.path, urllib.parse.parse_qs(parts.query).get("labelSelector", [""])[0]


def _operator(agent: str) -> str | None:
    if agent.startswith("strata-operator"):
        return ""
    return "kopf " if agent.startswith("kopf") else None


def told(asked: Asked) -> dict[str, int]:
    """In the words of kubectl, in order."""
    return {f"{verb} {place}{'/' + sub if sub else ''}": count for (verb, place, sub), count in sorted(asked.items())}
