"""Values that cannot work are refused with the key's name, and every key is explained."""

import json
import re
from typing import Any

import pytest
import yaml

from strata_operator.notifications import sinks
from support import helm_chart

needs_helm = pytest.mark.skipif(helm_chart.helm() is None, reason="helm is nowhere; `make cluster-up` builds it")

VALUES = helm_chart.CHART / "values.yaml"
SCHEMA = json.loads((helm_chart.CHART / "values.schema.json").read_text())


@needs_helm
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"operatr": {}}, "operatr"),
        ({"operator": {"image": {"tags": "x"}}}, "tags"),
        ({"operator": {"image": {"digest": "sha256:abc"}}}, "digest"),
        ({"operator": {"image": {"repository": ""}}}, "repository"),
        ({"operator": {"image": {"pullPolicy": "Sometimes"}}}, "pullPolicy"),
        ({"operator": {"logLevel": "LOUD"}}, "logLevel"),
        ({"operator": {"workers": 0}}, "workers"),
        ({"operator": {"workers": None}}, "workers"),
        ({"operator": {"replicas": None}}, "replicas"),
        ({"builds": {"jobTTLSeconds": None}}, "jobTTLSeconds"),
        ({"nodeProxy": {"enabled": None}}, "enabled"),
        ({"nodeProxy": {"namespace": None}}, "namespace"),
        ({"webhooks": None}, "webhooks"),
        ({"builds": {"contextLimit": "2GB"}}, "contextLimit"),
        ({"builds": {"contextLimit": "-1"}}, "contextLimit"),
        ({"builds": {"maxConcurrent": -1}}, "maxConcurrent"),
        ({"builds": {"maxConcurrentPerNamespace": "2"}}, "maxConcurrentPerNamespace"),
        ({"builds": {"paused": 1}}, "paused"),
        ({"builds": {"resources": {"limits": {"memory": "2Gi,cpu=9"}}}}, "memory"),
        ({"builds": {"resources": {"limits": {"memory": None, "ephemeral-storage": None}}}}, "limits"),
        ({"builds": {"insecureRegistries": ["http://r.example"]}}, "insecureRegistries"),
        ({"mirrors": {"docker.io": "mirror.example"}}, "docker.io"),
        ({"mirrors": {"docker.io": "https://a.example,quay.io=https://evil.example"}}, "docker.io"),
        ({"mirrors": {"https://docker.io": "https://a.example"}}, "mirrors"),
        ({"proxy": {"http": "http://user:secret@p.example"}}, "http"),
        ({"proxy": {"noProxy": ".svc"}}, "noProxy"),
        ({"caBundle": "/etc/ssl/ca.pem"}, "caBundle"),
        ({"caBundle": "-----BEGIN CERTIFICATE----- é"}, "caBundle"),
        ({"pollAllowedCidrs": ["10.0.0.1"]}, "pollAllowedCidrs"),
        ({"polling": {"perHost": 0}}, "perHost"),
        ({"registries": {"nodeCIDRs": ["nodes"]}}, "nodeCIDRs"),
        ({"nodeProxy": {"bind": "0.0.0.0"}}, "bind"),
        ({"nodeProxy": {"namespace": "Upper"}}, "namespace"),
        ({"nodeProxy": {"namespace": helm_chart.NAMESPACE}}, "nodeProxy.namespace"),
        ({"imagePullSecrets": ["regcred"]}, "imagePullSecrets"),
        ({"metrics": {"service": {"port": 70000}}}, "port"),
        ({"crds": {"keep": "yes"}}, "keep"),
        ({"webhooks": {"registryNotifications": True}}, "registryNotifications"),
        ({"webhooks": {"ingress": {"enabled": True, "host": "h.example"}}}, "ingress"),
        ({"webhooks": {"enabled": True, "ingress": {"enabled": True}}}, "host"),
        ({"webhooks": {"trustedProxies": ["ingress"]}}, "trustedProxies"),
        ({"webhooks": {"service": {"type": "ExternalName"}}}, "type"),
        ({"notifications": {"sinks": [{"name": "a"}]}}, "url"),
        ({"notifications": {"sinks": [{"name": "a", "url": "https://u:p@a.example"}]}}, "url"),
        ({"notifications": {"sinks": [{"name": "A b", "url": "https://a.example"}]}}, "name"),
        ({"notifications": {"sinks": [{"name": "a", "url": "https://a.example", "types": ["exploded"]}]}}, "types"),
        (
            {"notifications": {"sinks": [{"name": "a", "url": "https://a.example", "secretFolder": "/"}]}},
            "secretFolder",
        ),
    ],
)
def test_a_bad_value_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    assert named in helm_chart.refusal(values)


@needs_helm
def test_the_chart_refuses_a_cluster_that_is_too_old() -> None:
    done = helm_chart.template(kubernetes="1.31.0")
    assert done.returncode != 0
    assert "kubeVersion" in done.stderr


@needs_helm
def test_the_chart_may_be_part_of_another() -> None:
    assert helm_chart.render({"global": {"anything": 1}})


def test_the_schema_knows_exactly_the_keys_of_the_values() -> None:
    def keys(schema: dict[str, Any], values: object, path: str = "") -> None:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        if "properties" not in schema or not isinstance(values, dict):
            return
        known = schema["properties"].keys() - {"global", "claims"}
        assert known == values.keys(), path or "top"
        assert schema["additionalProperties"] is False, path
        for key in known:
            keys(schema["properties"][key], values[key], f"{path}.{key}")

    keys(SCHEMA, yaml.safe_load(VALUES.read_text()))


def test_a_key_that_means_something_else_when_it_is_taken_away_is_required() -> None:
    """Helm takes away what is set to null: a number would be 0 then, a switch off, and a section nil to its templates."""

    def keys(schema: dict[str, Any], path: str = "") -> None:
        for key, one in schema.get("properties", {}).items():
            if (one.get("type") in ("integer", "boolean") or "properties" in one) and key != "global":
                assert key in schema.get("required", ()), f"{path}.{key}"
            keys(one, f"{path}.{key}")

    keys(SCHEMA)


#: Keys whose meaning is Kubernetes' own, or said in the comment of what they are in.
PLAIN = {"image", "repository", "requests", "limits"}


def test_the_schema_knows_the_transitions_and_modes_of_sinks() -> None:
    known = SCHEMA["properties"]["notifications"]["properties"]["sinks"]["items"]["properties"]
    assert tuple(known["types"]["items"]["enum"]) == sinks.TRANSITIONS
    assert tuple(known["mode"]["enum"]) == sinks.MODES


def test_every_key_is_explained_by_a_comment_above_it() -> None:
    lines = VALUES.read_text().splitlines()
    inside: list[tuple[int, str]] = []
    for above, line in zip(["", *lines], lines, strict=False):
        key, colon, _ = line.strip().partition(":")
        if not colon or line.lstrip().startswith(("#", "-")):
            continue
        depth = len(line) - len(line.lstrip())
        inside = [(d, k) for d, k in inside if d < depth]
        if key not in PLAIN and not {"requests", "limits", "nodeSelector"} & {k for _, k in inside}:
            assert above.lstrip().startswith("# "), f"{'.'.join(k for _, k in inside)}.{key} has no comment"
        inside.append((depth, key))


def test_the_readme_names_values_that_there_are() -> None:
    values = yaml.safe_load(VALUES.read_text())
    named = re.findall(r"`([a-z][A-Za-z]*(?:\.[A-Za-z]+)*)`", (helm_chart.CHART / "README.md").read_text())
    named = [path for path in named if path.partition(".")[0] in values]
    assert len(named) > 20
    for path in named:
        found = values
        for key in path.split("."):
            assert key in found, path
            found = found[key]
