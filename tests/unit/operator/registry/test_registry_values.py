# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""Registry specs, access, repositories and what builds see: the pure parts."""

import inspect
import re

import pytest

from strata_operator.registry import decide, external, probe, reconcile, spec, vault, view
from support import registries

SHARED = {"namespaces": "Selector", "selector": {"matchLabels": {"team": "x"}}, "sharedCredentials": True}


def test_a_managed_registry_is_reached_by_three_names():
    one = spec.parse(registries.managed())
    assert one.push_host("cluster.local") == "strata-main.team.svc.cluster.local:5000"
    assert one.node_host == "localhost:5000"
    assert spec.parse(registries.managed(nodeAccess={"mode": "NodeProxy", "port": 5001})).node_host == "localhost:5001"
    assert spec.parse(registries.managed(nodeAccess={"mode": "None"})).node_host == ""


def test_an_external_registry_is_reached_by_its_own_name_everywhere():
    one = spec.parse(registries.external(host="r.example:8443"))
    assert (one.push_host("cluster.local"), one.node_host) == ("r.example:8443", "r.example:8443")


@pytest.mark.parametrize(
    ("access", "namespace", "labels", "admitted"),
    [
        (None, "team", {}, True),
        (None, "other", {"team": "x"}, False),
        (SHARED, "team", {}, True),
        (SHARED, "other", {"team": "x", "more": "y"}, True),
        (SHARED, "other", {"team": "y"}, False),
        ({**SHARED, "namespaces": "Same"}, "other", {"team": "x"}, False),
    ],
)
def test_who_may_use_a_registry(access, namespace, labels, admitted):
    body = registries.managed(access=access) if access else registries.managed()
    assert spec.parse(body).admits(namespace, labels) is admitted


@pytest.mark.parametrize(
    ("template", "wanted", "allowed"),
    [
        ("{namespace}/{name}", "team/web", True),
        ("{namespace}/{name}", "team/web/nginx", True),
        ("{namespace}/{name}", "other/web", False),
        ("{namespace}/{name}", "team", False),
        ("{namespace}/{name}", "team/../other/web", False),
        ("{namespace}/{name}", "team/Web", False),
        ("{namespace}/{name}", "team//web", False),
        ("{namespace}/{name}", "team/web/", False),
        ("{namespace}/{name}", "team/" + "a" * 251, False),
        ("builds.{namespace}/{name}", "builds.team/web", True),
        ("builds.{namespace}/{name}", "buildsxteam/web", False),
        ("{name}", "anything/at/all", True),
    ],
)
def test_which_repositories_a_build_may_ask_for(template, wanted, allowed):
    assert spec.allows(template, "team", wanted) is allowed


def test_a_build_gets_the_template_or_what_it_asks_for_or_an_explanation():
    seen = view.view(registries.managed())
    assert seen.repository("team", "web") == "team/web"
    assert seen.repository("team", "web", "team/other") == "team/other"
    with pytest.raises(ValueError, match="lets builds of namespace team write to team/<path> only, not to x/y"):
        seen.repository("team", "web", "x/y")


@pytest.mark.parametrize(
    ("generation", "status", "ready", "problem"),
    [
        (1, "True", True, ""),
        (0, "True", False, "not looked at yet"),
        (1, "False", False, "Serving: words"),
    ],
)
def test_a_registry_is_ready_for_builds_only_in_its_present_generation(generation, status, ready, problem):
    body = registries.managed(mirrors=[{"upstream": "docker.io", "endpoint": "http://m"}])
    condition = {
        "type": "Ready",
        "status": status,
        "reason": "Serving",
        "message": "words",
        "observedGeneration": generation,
    }
    body["status"] = {
        "conditions": [condition],
        "endpoints": {"push": "p:5000", "node": "localhost:5000"},
        "caBundle": "PEM",
    }
    seen = view.view(body)
    assert (seen.ready, seen.problem) == (ready, problem)
    assert (seen.push, seen.node, seen.external, seen.ca_bundle, seen.insecure) == (
        "p:5000",
        "localhost:5000",
        "",
        "PEM",
        False,
    )
    assert seen.mirrors == (spec.Mirror("docker.io", "http://m"),)


def registry(name: str = "main", created: str = "2026-01-01T00:00:00Z", **more) -> spec.Registry:
    body = registries.managed(name, **more)
    body["metadata"]["creationTimestamp"] = created
    return spec.parse(body)


def test_the_oldest_registry_keeps_a_port_and_the_others_are_told():
    old, new = registry("old"), registry("new", "2026-02-01T00:00:00Z")
    elsewhere = registry("c", nodeAccess={"port": 5001})
    assert decide.port_holder(old, [new, elsewhere]) is None
    assert decide.port_holder(new, [old, elsewhere]) == old
    assert decide.port_holder(elsewhere, [old, new]) is None
    assert decide.port_holder(registry("d", nodeAccess={"mode": "None"}), [old]) is None
    problem = decide.port_conflict(new, old)
    assert problem.reason == "PortConflict"
    assert "Registry team/old already has port 5000" in problem.message


def deployment(*, generation=1, observed=1, available=1, unavailable=0, conditions=()):
    status = {"observedGeneration": observed, "updatedReplicas": 1, "conditions": list(conditions)}
    if available:
        status["availableReplicas"] = available
    if unavailable:
        status["unavailableReplicas"] = unavailable
    return {"metadata": {"generation": generation}, "status": status}


def waiting(reason: str, message: str) -> dict:
    return {"status": {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}}


UNPLACED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
UNSCHEDULED = {"status": {"conditions": [UNPLACED]}}
REFUSED = {"type": "ReplicaFailure", "status": "True", "message": "forbidden: violates PodSecurity"}
LATE = {"type": "Progressing", "status": "False", "message": "deadline exceeded"}
UP, DOWN = {"deployment": deployment()}, {"deployment": deployment(available=0)}
AWAY, REFUSES = probe.Outcome("Unreachable", "no answer"), probe.Outcome("CredentialsRejected", "x")
TAKEN = {"problem": decide.Problem("NameTaken", "taken")}
PENDING = {"claim": {"status": {"phase": "Pending"}}}
NO_IMAGE, BACK_OFF = {"pods": [waiting("ErrImagePull", "not found")]}, {"pods": [waiting("ImagePullBackOff", "x")]}


@pytest.mark.parametrize(
    ("seen", "reason", "kind", "words"),
    [
        ({}, "Provisioning", "Reconciling", "being made"),
        ({"deployment": deployment(observed=0)}, "Provisioning", "Reconciling", "waiting for"),
        ({"deployment": deployment(generation=2)}, "RollingOut", "Reconciling", "waiting for"),
        (DOWN, "Provisioning", "Reconciling", "waiting for"),
        (DOWN | NO_IMAGE, "Provisioning", "Reconciling", "ErrImagePull: not found"),
        (DOWN | {"pods": [UNSCHEDULED]}, "Provisioning", "Reconciling", "0/1 nodes"),
        (DOWN | PENDING, "Provisioning", "Reconciling", "the volume claim is Pending"),
        ({"deployment": deployment(available=0, conditions=[REFUSED])}, "RolloutFailed", "Stalled", "PodSecurity"),
        ({"deployment": deployment(available=0, conditions=[LATE])} | BACK_OFF, "RolloutFailed", "Stalled", "BackOff"),
        (UP, "Provisioning", "Reconciling", "first time"),
        (UP | {"probed": probe.Outcome()}, "Serving", "", "refuses strangers"),
        (UP | {"probed": probe.Outcome(anonymous=True)}, "AnonymousAllowed", "Reconciling", "without credentials"),
        (UP | {"probed": probe.Outcome("Unreachable", "no answer")}, "Unreachable", "Reconciling", "no answer"),
        (UP | {"probed": AWAY, "was_ready": True, "misses": 2}, "Serving", "", "the last question had no answer"),
        (UP | {"probed": AWAY, "was_ready": True, "misses": 3}, "Unreachable", "Reconciling", "no answer"),
        (UP | {"probed": REFUSES, "was_ready": True, "misses": 1}, "CredentialsRejected", "Reconciling", "x"),
        (UP | TAKEN | {"probed": probe.Outcome()}, "NameTaken", "Stalled", "taken"),
    ],
)
def test_what_is_said_of_a_managed_registry(seen, reason, kind, words):
    found = decide.managed(decide.Observed(registry(), **seen))
    assert found[0].reason == reason
    assert found[0].status == {"": "True", "Reconciling": "Unknown", "Stalled": "False"}[kind]
    assert [c.type for c in found[1:]] == ([kind] if kind else [])
    assert words in found[0].message


@pytest.mark.parametrize(
    ("credentials", "problem", "probed", "ready", "kinds"),
    [
        ("s", None, probe.Outcome(), ("True", "Serving"), []),
        ("s", None, probe.Outcome(anonymous=True), ("True", "Serving"), []),
        ("", None, probe.Outcome(anonymous=True), ("True", "Serving"), []),
        ("s", None, probe.Outcome("Unreachable", "x"), ("Unknown", "Unreachable"), ["Reconciling"]),
        ("s", None, probe.Outcome("CredentialsRejected", "x"), ("False", "CredentialsRejected"), ["Stalled"]),
        ("s", decide.Problem("CredentialsNotFound", "x"), None, ("False", "CredentialsNotFound"), ["Stalled"]),
    ],
)
def test_what_is_said_of_an_external_registry(credentials, problem, probed, ready, kinds):
    found = decide.external(spec.External("h", credentials_secret=credentials), problem, probed)
    assert (found[0].status, found[0].reason) == ready
    assert [c.type for c in found[1:]] == kinds


def test_every_reason_that_is_given_is_in_the_list_and_no_other():
    listed = set(re.findall(r"^([A-Z]\w+) +(?:True|Reconciling|Stalled)", decide.__doc__, re.MULTILINE))
    given = set()
    for module in (decide, external, probe, reconcile):
        calls = r'(?:Problem|Outcome|_Missing|ready|reconciling|stalled)\(\s*"(\w+)"|reason(?:, key)? = "(\w+)"'
        given |= {a or b for a, b in re.findall(calls, inspect.getsource(module))}
    given |= {"RollingOut", "Provisioning"}
    assert given == listed


def test_logins_are_news_once_and_forgotten_with_their_registry():
    known = vault.Vault()
    assert known.put("u", vault.Logins()) is True
    assert known.put("u", vault.Logins()) is False
    known.keep(set())
    assert known.get("u") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"auths": []}', '{"auths": null}'])
def test_a_docker_config_that_cannot_be_read_has_no_entries(text):
    assert vault.entries(text) == {}
