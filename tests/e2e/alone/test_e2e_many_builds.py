"""Many builds at once: all come to their end, never more pods run than the release allows, and what that takes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

import pytest

from support import costs, e2e, faults

#: Far more than run at once.
MANY = int(os.environ.get("STRATA_E2E_MANY", "50" if os.environ.get("STRATA_LONG") else "30"))
_ACTIVE = ("Pending", "Running")


@dataclass
class Seen:
    """The most that was seen at one moment, and all that were ever seen waiting."""

    active: int = 0
    queued: set[str] = field(default_factory=set)
    seconds: float = 0.0


@pytest.fixture(scope="module")
def limit(strata) -> int:
    """builds.maxConcurrent of the release; 0 is no limit."""
    found = strata.get("deployment", "strata-operator", namespace="strata-system")
    container = found["spec"]["template"]["spec"]["containers"][0]
    named = {v["name"]: v.get("value", "") for v in container.get("env", [])}
    assert "STRATA_MAX_BUILDS" in named
    return int(named["STRATA_MAX_BUILDS"])


def test_many_builds_keep_to_the_limit_and_all_succeed(home, limit, strata, request):
    operator = faults.Operator(strata) if strata.where.netns else None
    before = costs.read(operator) if operator else None
    seen = watched(home)
    assert 1 < seen.active <= (limit or MANY)
    assert not limit or seen.queued, "with more builds than places some must have waited"
    assert len({b["status"]["digest"] for b in home.all("imagebuilds")}) == MANY
    assert len(home.all("jobs")) == MANY
    if operator and before:
        costs.report(request, line(seen, before, costs.read(operator)))


def watched(home: e2e.Namespace) -> Seen:
    """Apply all at once, and look until all are Ready."""
    dockerfile = "FROM busybox:1.36\nCOPY file /\n"
    builds = [e2e.image_build(f"many-{i}", dockerfile, source={"inline": {"file": f"{i}\n"}}) for i in range(MANY)]
    home.apply({"apiVersion": "v1", "kind": "List", "items": builds})
    seen, began = Seen(), time.monotonic()

    def ended() -> bool:
        active = [p for p in home.all("pods", "strata.build/imagebuild-uid") if p["status"]["phase"] in _ACTIVE]
        seen.active = max(seen.active, len(active))
        bodies = home.all("imagebuilds")
        seen.queued.update(b["metadata"]["name"] for b in bodies if _condition(b, "Building").get("reason") == "Queued")
        return sum(_condition(b, "Ready").get("status") == "True" for b in bodies) == MANY

    home.until(f"{MANY} builds", ended, seconds=60 + 6 * MANY)
    seen.seconds = time.monotonic() - began
    return seen


def line(seen: Seen, before: costs.Costs, after: costs.Costs) -> str:
    """What is shown after the tests."""
    took = f"{MANY} builds in {seen.seconds:.0f} s, at most {seen.active} pods at once, {len(seen.queued)} seen Queued"
    return f"{took}; {costs.since(before, after)}"


def _condition(body: e2e.Body, kind: str) -> e2e.Body:
    found = [c for c in body.get("status", {}).get("conditions", []) if c["type"] == kind]
    return found[0] if found else {}
