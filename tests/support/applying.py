"""What `kubectl apply` changes of an object, without kubectl: a quarter of a CPU second each time would be a test's most
costly habit.

As there, an annotation has what was applied last, and what is no longer in it is removed. Lists are replaced whole,
which kubectl does for resources of a CRD.
"""

from __future__ import annotations

import json
from typing import Any

Body = dict[str, Any]
LAST = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl-client-side-apply"


def noted(body: Body) -> Body:
    """The object with the note that it was applied."""
    metadata = dict(body["metadata"])
    annotations = {k: v for k, v in metadata.get("annotations", {}).items() if k != LAST}
    bare = body | {"metadata": metadata | {"annotations": annotations}}
    text = json.dumps(bare, separators=(",", ":"), sort_keys=True) + "\n"
    return bare | {"metadata": metadata | {"annotations": annotations | {LAST: text}}}


def patch(current: Body, wanted: Body) -> Body:
    """The JSON merge patch that makes `current` what is `wanted`, which is noted; empty where nothing changes."""
    last = json.loads(current["metadata"].get("annotations", {}).get(LAST, "{}"))
    return _both(_removals(last, wanted), _changes(current, wanted))


def _removals(last: Body, wanted: Body) -> Body:
    """None for each field that was applied and no longer is."""
    found: Body = {}
    for key, old in last.items():
        if key not in wanted:
            found[key] = None
        elif isinstance(old, dict) and isinstance(wanted[key], dict) and (below := _removals(old, wanted[key])):
            found[key] = below
    return found


def _changes(current: Body, wanted: Body) -> Body:
    """Each field that is not yet as it is wanted."""
    found: Body = {}
    for key, new in wanted.items():
        old = current.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            if below := _changes(old, new):
                found[key] = below
        elif key not in current or old != new:
            found[key] = new
    return found


def _both(one: Body, other: Body) -> Body:
    """The fields of both; where both have some below, those of both."""
    found = dict(one)
    for key, value in other.items():
        old = found.get(key)
        found[key] = _both(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found
