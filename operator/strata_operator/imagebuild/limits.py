"""How many builds a namespace and a Registry may have at once, and what is paused: read from objects. Pure.

The annotations stand on the Namespace object, which cluster administrators write and the cluster's roles for those who
work in a namespace (admin, edit) do not: nobody raises a limit of their own.
"""

from __future__ import annotations

import re
from typing import Final

from strata_operator import kube, names

_NUMBER: Final = re.compile(r"[0-9]{1,6}")
_OFF: Final = frozenset({"", "false"})
_SHOWN: Final = 200  # characters of somebody's reason


def of_namespace(namespace: kube.Object | None, default: int) -> int:
    """Builds at once in `namespace`, 0 = no limit; an annotation that is no number leaves the chart's `default`."""
    text = _annotation(namespace, names.ANNOTATION_MAX_BUILDS)
    return int(text) if _NUMBER.fullmatch(text) else default


def of_registry(registry: kube.Object | None) -> int:
    """Builds at once that write to `registry`, 0 = no limit."""
    return int((((registry or {}).get("spec") or {}).get("builds") or {}).get("maxConcurrent") or 0)


def paused(everywhere: str, namespace: kube.Object | None) -> str:
    """Why nothing is started, worded for people; empty if it is. `everywhere` is the setting."""
    if _is_on(everywhere):
        return _worded("all builds of the cluster are paused", everywhere)
    here = _annotation(namespace, names.ANNOTATION_PAUSED)
    return _worded("the builds of this namespace are paused", here) if _is_on(here) else ""


def _is_on(text: str) -> bool:
    return text.strip().lower() not in _OFF


def _worded(what: str, text: str) -> str:
    text = " ".join(text.split())
    why = "" if text.lower() == "true" else f" ({text[:_SHOWN]})"
    return f"{what}{why}: this one starts by itself when that is over"


def _annotation(body: kube.Object | None, name: str) -> str:
    return str((((body or {}).get("metadata") or {}).get("annotations") or {}).get(name) or "").strip()
