"""Rules that a cluster has of its own, and its API server enforces: what meets them is built, what does not says why."""

from __future__ import annotations

import pytest

from support import e2e, gates

FILE = "FROM scratch\nLABEL a=b\n"


@pytest.fixture(scope="module")
def home(namespaces) -> e2e.Namespace:
    """A namespace with a Registry; rules come with each test."""
    made = namespaces("restricted", "policies")
    made.apply(e2e.registry(0, managed=e2e.HIDDEN))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


def test_where_no_bare_pods_are_wanted_builds_run(home):
    with gates.refused(home, {"pods": "!has(object.metadata.ownerReferences)"}):
        assert home.build(e2e.image_build("of-a-job", FILE))["current"]["attempt"] == 1


def test_a_rule_against_the_builder_pod_is_told_and_once_it_is_gone_the_image_is_built(home):
    with gates.refused(home, {"pods": "object.metadata.name.startsWith('sib-')"}):
        home.apply(e2e.image_build("held-back", FILE))
        home.wait("held-back", "Ready", "False", reason="PodRejected")
        message = home.conditions("held-back")["Ready"]["message"]
        assert "ValidatingAdmissionPolicy 'gate-" in message
        assert "held back by a test" in message
        assert "spec.pod" in message
        assert home.jobs("held-back") == [], "nothing is made that would be refused"
    # It is Stalled until the next look, a minute later at the most; `wait` would give up at once.
    home.until("it is built", lambda: home.conditions("held-back")["Ready"]["status"] == "True", seconds=180)
