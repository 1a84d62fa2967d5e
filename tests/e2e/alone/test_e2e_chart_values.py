"""The release with other values: no node proxies, no image volumes, defaults of builder pods, a limit of each namespace."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from support import e2e, kubectl, release

VALUES = {
    "nodeProxy": {"enabled": False},
    "builds": {
        "imageVolumes": "Never",
        "maxConcurrentPerNamespace": 1,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "imagePullSecrets": [{"name": "mirror"}],
        "podAnnotations": {"example.com/note": "a build"},
    },
}
STEPS = "FROM busybox:1.36\nRUN echo made > /made && rm -rf /usr && cat /proc/self/status > /dev/null\n"


@pytest.fixture(scope="module")
def changed(strata) -> Iterator[contextlib.ExitStack]:
    """The release has these values until this is closed."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(release.changed(strata, VALUES))
        yield stack


@pytest.fixture(scope="module")
def home(changed, namespaces: Callable[..., e2e.Namespace], ports) -> e2e.Namespace:
    made = namespaces("baseline", "values")
    made.apply(e2e.registry(next(ports)))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


def building(home: e2e.Namespace, name: str) -> e2e.Body:
    found: e2e.Body = home.conditions(name).get("Building", {})
    return found


def test_without_node_proxies_the_registry_says_so_and_images_have_the_name_that_pods_know(home):
    found = home.conditions(e2e.REGISTRY, "registry")["NodeAccess"]
    assert (found["status"], found["reason"]) == ("False", "NodeProxyDisabled")
    status = home.build(e2e.image_build("copies", "FROM scratch\nLABEL a=1\n"))
    assert status["image"] == status["references"]["push"]
    assert "node" not in status["references"]
    endpoints = home.status(e2e.REGISTRY, "registry")["endpoints"]
    assert "node" not in endpoints
    assert "localhost" not in home("get", "secret", "strata-pull", "-o", "jsonpath={.data}")


def test_where_images_are_no_volumes_the_builder_is_copied_and_steps_run_in_place(home):
    status = home.build(e2e.image_build("steps", STEPS, isolation="InPlace"))
    assert status["current"]["isolation"] == "InPlace"
    (pod,) = home.pods("steps")
    assert [c["name"] for c in pod["spec"]["initContainers"]] == ["install"]
    assert not [v for v in pod["spec"]["volumes"] if "image" in v]
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod["spec"]["imagePullSecrets"] == [{"name": "mirror"}]
    assert pod["metadata"]["annotations"]["example.com/note"] == "a build"


def test_a_step_cannot_write_to_the_copy_of_the_builder(home):
    broken = "FROM busybox:1.36\nRUN ! echo x > /.strata/bin/x && ! chmod 777 /.strata/bin && ! mount -o remount,rw /.strata\n"
    home.build(e2e.image_build("hostile", broken, isolation="InPlace"))


def test_every_namespace_has_the_charts_limit(home):
    home.apply(e2e.image_build("holds", "FROM scratch\nLABEL a=2\n", pod={"nodeSelector": {"example.org/no": "node"}}))
    home.until("a pod that no node takes", lambda: building(home, "holds").get("reason") == "Unschedulable")
    home.apply(e2e.image_build("waits", "FROM scratch\nLABEL a=3\n"))
    home.until(
        "its turn", lambda: f"1 builds run in namespace {home.name}" in building(home, "waits").get("message", "")
    )
    home("annotate", "imagebuild", "holds", "strata.build/cancel=1")
    home.wait("waits")


def test_when_node_proxies_come_back_images_are_named_by_them_without_a_build(changed, home):
    """The last here, for it brings the release back."""
    home.build(e2e.image_build("named", "FROM scratch\nLABEL a=1\n"))
    changed.close()
    kubectl.until(lambda: home.status("named")["image"].startswith("localhost:"), seconds=90, what="a name of nodes")
    assert [b["number"] for b in home.status("named")["builds"]] == [1]
    home.wait(e2e.REGISTRY, kind="registry", reason="Serving")
