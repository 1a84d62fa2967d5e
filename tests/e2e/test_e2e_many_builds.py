"""Many builds at once: all come to their end, and never more pods run than the release allows."""

from __future__ import annotations

import os

import pytest

from support import e2e

MANY = int(os.environ.get("STRATA_E2E_MANY", "20"))


@pytest.fixture(scope="module")
def limit(strata) -> int:
    """builds.maxConcurrent of the release; 0 is no limit."""
    found = strata.get("-n", "strata-system", "deployment", "strata-operator")
    container = found["spec"]["template"]["spec"]["containers"][0]
    named = {v["name"]: v.get("value", "") for v in container.get("env", [])}
    assert "STRATA_MAX_BUILDS" in named
    return int(named["STRATA_MAX_BUILDS"])


def test_many_builds_keep_to_the_limit_and_all_succeed(home, limit):
    dockerfile = "FROM busybox:1.36\nCOPY file /\n"
    builds = [e2e.image_build(f"many-{i}", dockerfile, source={"inline": {"file": f"{i}\n"}}) for i in range(MANY)]
    home.apply({"apiVersion": "v1", "kind": "List", "items": builds})
    most = 0

    def ended() -> bool:
        nonlocal most
        active = [p for p in home.all("pods", "strata.build/imagebuild-uid") if p["status"]["phase"] in _ACTIVE]
        most = max(most, len(active))
        return sum(_ready(b) for b in home.all("imagebuilds")) == MANY

    home.until(f"{MANY} builds", ended, seconds=30 + 4 * MANY)
    assert 1 < most <= (limit or MANY)
    digests = {b["status"]["digest"] for b in home.all("imagebuilds")}
    assert len(digests) == MANY
    assert len(home.all("jobs")) == MANY


_ACTIVE = ("Pending", "Running")


def _ready(body: e2e.Body) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in body.get("status", {}).get("conditions", []))
