"""Two operators at once: one acts, the other follows when it is killed or ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from support import e2e, kubectl

SYSTEM = ("-n", "strata-system")
DEPLOYMENT = "deployment/strata-operator"
SELECTOR = "app.kubernetes.io/component=operator,app.kubernetes.io/part-of=strata"


@pytest.fixture(scope="module")
def scaled(strata) -> Iterator[e2e.Namespace]:
    """The operator's namespace, where there are to be two of them."""
    strata(*SYSTEM, "scale", DEPLOYMENT, "--replicas=2")
    yield e2e.Namespace(strata, "strata-system")
    strata(*SYSTEM, "scale", DEPLOYMENT, "--replicas=1")
    kubectl.until(lambda: len(pods(strata)) == 1, what="one operator")


@pytest.fixture
def two(scaled) -> e2e.Namespace:
    """The same, once there are."""
    scaled.k(*SYSTEM, "rollout", "status", DEPLOYMENT, "--timeout=90s")
    return scaled


def pods(k: kubectl.Kubectl) -> list[str]:
    found = k.get("pods", namespace=SYSTEM[1], labelSelector=SELECTOR) or {}
    return [pod["metadata"]["name"] for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]


def holder(k: kubectl.Kubectl) -> str:
    lease = k.get("lease", "strata-operator", namespace=SYSTEM[1]) or {}
    return str(lease["spec"].get("holderIdentity", ""))


def leads(system: e2e.Namespace, pod: str) -> bool:
    text = system.answer(pod, path="metrics")
    (value,) = re.findall(r"^strata_leader (\S+)$", text, re.MULTILINE)
    return float(value) == 1.0


@pytest.mark.parametrize("grace", [0, 20], ids=["killed", "told to end"])
def test_of_two_operators_one_acts_and_the_other_follows(namespaces, two, grace):
    k, home = two.k, namespaces("restricted", "leader")
    home.apply(e2e.registry(0, managed=e2e.HIDDEN))
    home.wait(e2e.REGISTRY, kind="registry")
    first = holder(k)
    assert sorted(leads(two, pod) for pod in pods(k)) == [False, True]
    assert leads(two, first)
    home.apply(e2e.image_build("before", "FROM scratch\nLABEL a=1\n"))
    words = ("--force",) if grace == 0 else ("--wait=false",)
    k(*SYSTEM, "delete", "pod", first, f"--grace-period={grace}", *words)
    home.apply(e2e.image_build("after", "FROM scratch\nLABEL a=2\n"))
    second = kubectl.until(lambda: (now := holder(k)) not in ("", first) and now, seconds=40, what="another holder")
    kubectl.until(lambda: leads(two, second), what=f"that {second} acts")
    for name in ("before", "after"):
        status = home.wait(name, seconds=60)
        assert len(home.jobs(name)) == 1
        assert [b["result"] for b in status["builds"]] == ["Succeeded"]
