"""The operator has the rights that its code uses and that docs/rbac.md gives reasons for, and no others."""

import ast
import re
from collections.abc import Iterator

import pytest

from strata_operator import names
from support import helm_chart

pytestmark = pytest.mark.skipif(helm_chart.helm() is None, reason="helm is nowhere; `make cluster-up` builds it")

OPERATOR = helm_chart.CHECKOUT / "operator" / "strata_operator"
DOCS = helm_chart.CHECKOUT / "docs" / "rbac.md"

#: What a method of kube.Kube asks of the API server.
VERBS = {
    "get": {"get"},
    "pages": {"list"},
    "create": {"create"},
    "apply": {"create", "patch"},
    "patch": {"patch"},
    "delete": {"delete"},
}


def rights(kind: str, name: str) -> dict[tuple[str, str], set[str]]:
    """(group, resource) -> verbs."""
    found = {}
    for rule in helm_chart.one(helm_chart.render(), kind, name)["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert (group, resource) not in found, f"{resource} is in two rules"
                found[group, resource] = set(rule["verbs"])
    return found


def documented(heading: str) -> dict[tuple[str, str], set[str]]:
    """The table below a heading of docs/rbac.md, as (group, resource) -> verbs."""
    section = DOCS.read_text().split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    found = {}
    for row in re.findall(r"^\|(.+)\|$", section, re.MULTILINE)[2:]:
        group, resources, verbs, why = (cell.strip() for cell in row.split("|"))
        assert len(why) > 10, f"no reason: {row}"
        for resource in resources.partition(": only ")[0].split(", "):
            found["" if group == "core" else group, resource] = set(verbs.split(", "))
    return found


def used() -> Iterator[tuple[names.Resource, str, str]]:
    """(resource constant of names, verb) of each call of the API client in the operator's source."""
    for path in OPERATOR.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            first = node.args[0]
            if isinstance(first, ast.Attribute) and isinstance(getattr(names, first.attr, None), names.Resource):
                yield from (
                    (getattr(names, first.attr), node.func.attr, verb) for verb in VERBS.get(node.func.attr, ())
                )
                if node.func.attr == "Watch":
                    yield from ((getattr(names, first.attr), "Watch", verb) for verb in ("list", "watch"))


def test_what_the_code_asks_for_is_granted() -> None:
    granted = rights("ClusterRole", "strata-operator")
    in_namespaces = rights("Role", "strata-operator") | rights("Role", "strata-operator-leader")
    asked = set(used())
    assert len(asked) > 20
    for resource, method, verb in asked:
        key = (resource.group, resource.plural)
        allowed = granted.get(key, set()) | in_namespaces.get(key, set())
        assert verb in allowed, f"{method} of {resource.plural} needs {verb}"


@pytest.mark.parametrize(
    ("kind", "name", "heading"),
    [
        ("ClusterRole", "strata-operator", "ClusterRole `strata-operator`"),
        ("ClusterRole", "strata-secret-reader", "ClusterRole `strata-secret-reader`"),
        ("Role", "strata-operator", "Role `strata-operator` in"),
        ("Role", "strata-operator-leader", "Role `strata-operator-leader`"),
    ],
)
def test_every_right_has_its_reason_in_the_documentation(kind: str, name: str, heading: str) -> None:
    assert documented(heading) == rights(kind, name)


def test_rights_are_named_one_by_one() -> None:
    for body in helm_chart.render():
        for rule in body.get("rules", ()) if body["kind"] in ("Role", "ClusterRole") else ():
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]


def test_secrets_are_granted_by_name_alone() -> None:
    rules = helm_chart.one(helm_chart.render(), "ClusterRole", "strata-operator")["rules"]
    (rule,) = (rule for rule in rules if "secrets" in rule["resources"])
    assert rule["resources"] == ["secrets"]
    assert set(rule["resourceNames"]) == {
        names.SECRET_REGISTRY,
        names.SECRET_SERVING,
        names.SECRET_PULL,
        names.SECRET_PUSH,
    }
    assert "watch" not in rule["verbs"]


def test_secrets_of_users_are_read_only_where_a_namespace_binds_the_role() -> None:
    manifests = helm_chart.render()
    assert rights("ClusterRole", names.SECRET_READER) == {("", "secrets"): {"get"}}
    bound = {b["roleRef"]["name"] for b in manifests if b["kind"] in ("RoleBinding", "ClusterRoleBinding")}
    assert bound == {"strata-operator", "strata-operator-leader"}


def test_roles_are_bound_to_the_account_that_the_operator_runs_as() -> None:
    manifests = helm_chart.render()
    spec = helm_chart.one(manifests, "Deployment")["spec"]["template"]["spec"]
    account = {"kind": "ServiceAccount", "name": spec["serviceAccountName"], "namespace": helm_chart.NAMESPACE}
    helm_chart.one(manifests, "ServiceAccount", spec["serviceAccountName"])
    bindings = [b for b in manifests if b["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    assert len(bindings) == 3
    assert all(b["subjects"] == [account] for b in bindings)


def test_people_get_both_kinds_by_the_clusters_own_roles() -> None:
    manifests = helm_chart.render()
    to = "rbac.authorization.k8s.io/aggregate-to-"
    for name, roles in (("strata-view", {"view"}), ("strata-edit", {"edit", "admin"})):
        role = helm_chart.one(manifests, "ClusterRole", name)
        assert {k.removeprefix(to) for k in role["metadata"]["labels"] if k.startswith(to)} == roles
        assert role["rules"][0]["resources"] == ["imagebuilds", "registries"]
    without = helm_chart.render({"rbac": {"aggregate": False}})
    assert not [b for b in without if b["metadata"]["name"] in ("strata-view", "strata-edit")]
