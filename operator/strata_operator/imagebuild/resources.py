"""Resources of containers: the spec's over the chart's, never a request above its limit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strata_operator.quantities import amount


def merged(
    wanted: Mapping[str, Any], *, requests: Mapping[str, str], limits: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """`wanted` as in a container's `resources`, filled up with the defaults that do not contradict it."""
    asked = {key: str(value) for key, value in (wanted.get("requests") or {}).items()}
    bounded = {key: str(value) for key, value in (wanted.get("limits") or {}).items()}
    raised = {k: v for k, v in asked.items() if k in limits and amount(v) > amount(limits[k])}
    lowered = {k: v for k, v in bounded.items() if k in requests and amount(v) < amount(requests[k])}
    return {"requests": {**requests, **lowered, **asked}, "limits": {**limits, **raised, **bounded}}


def contradict(found: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether `found`, as of `merged`, requests more than it may have: only a spec does that, which names both."""
    limits = found["limits"]
    return any(amount(value) > amount(limits[key]) for key, value in found["requests"].items() if key in limits)
