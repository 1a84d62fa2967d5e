"""Killing the operator when something of a Registry has just gone: the next one makes it again, with the same passwords."""

from __future__ import annotations

from support import e2e, kubectl

OPERATOR = ("-n", "strata-system", "--selector", "app.kubernetes.io/component=operator")


def test_what_goes_while_there_is_no_operator_comes_back(strata, namespaces):
    there = namespaces("restricted", "registry-kill")
    there.apply(e2e.registry(0, managed=e2e.HIDDEN))
    there.wait(e2e.REGISTRY, kind="registry")
    before = there.get("secret", "strata-registry")["data"]
    strata("delete", "pod", *OPERATOR, "--grace-period=0", "--force")
    there("delete", "deployment", "strata-main", "--wait=true")
    kubectl.until(
        lambda: there.k.get("deployment", "strata-main", namespace=there.name), what="the Deployment", seconds=120
    )
    there.wait(e2e.REGISTRY, kind="registry")
    assert there.get("secret", "strata-registry")["data"] == before
