"""What the chart runs: how it is confined, labelled, probed and configured."""

import re
from typing import Any

import pytest

from strata_operator import leader, names, nodeproxy, settings
from strata_operator.registry import notices
from support import helm_chart

pytestmark = pytest.mark.skipif(helm_chart.helm() is None, reason="helm is nowhere; `make cluster-up` builds it")

BUNDLE = "# Größe zählt\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def pod(kind: str, values: dict[str, Any] | None = None) -> helm_chart.Manifest:
    template: helm_chart.Manifest = helm_chart.one(helm_chart.render(values), kind)["spec"]["template"]
    return template


def container(kind: str, values: dict[str, Any] | None = None) -> helm_chart.Manifest:
    found: list[helm_chart.Manifest] = pod(kind, values)["spec"]["containers"]
    assert len(found) == 1
    return found[0]


def environment(kind: str, values: dict[str, Any] | None = None) -> dict[str, str]:
    return {e["name"]: e.get("value") or _FIELDS[_path(e)] for e in container(kind, values)["env"]}


_FIELDS = {"metadata.namespace": "strata-system", "metadata.name": "strata-operator-x"}


def _path(variable: helm_chart.Manifest) -> str:
    return str(variable["valueFrom"]["fieldRef"]["fieldPath"])


def loaded(values: dict[str, Any] | None = None) -> settings.Settings:
    return settings.load(environment("Deployment", values))


def test_helm_lint_finds_nothing() -> None:
    done = helm_chart.run("lint", "--strict", str(helm_chart.CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_every_pod_is_confined(kind: str) -> None:
    spec = pod(kind)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["enableServiceLinks"] is False
    (only,) = spec["containers"]
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert only["resources"]["requests"]
    assert only["resources"]["limits"]["memory"]
    assert not spec.get("initContainers")
    assert all(volume.keys() <= {"name", "emptyDir", "configMap"} for volume in spec["volumes"])


def test_operator_pod_fits_into_a_restricted_namespace() -> None:
    spec = pod("Deployment", {"caBundle": BUNDLE})["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
    assert all("hostPort" not in port for port in spec["containers"][0]["ports"])


def test_a_new_operator_is_there_before_the_old_one_goes_and_the_lease_says_which_acts() -> None:
    manifests = helm_chart.render({"operator": {"replicas": 2}})
    spec = helm_chart.one(manifests, "Deployment")["spec"]
    assert helm_chart.one(helm_chart.render(), "Deployment")["spec"]["replicas"] == 1
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    role = helm_chart.one(manifests, "Role", "strata-operator-leader")
    assert role["metadata"]["namespace"] == helm_chart.NAMESPACE
    assert role["rules"][0]["resourceNames"] == [leader.LEASE]


def test_operator_is_probed_where_it_listens() -> None:
    found = container("Deployment")
    (port,) = found["ports"]
    assert loaded().listen == f"0.0.0.0:{port['containerPort']}"
    paths = {probe: found[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {p: get["path"] for p, get in paths.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {get["port"] for get in paths.values()} == {port["name"]}


@pytest.mark.parametrize(
    ("kind", "component"),
    [("Deployment", names.COMPONENT_OPERATOR), ("DaemonSet", names.COMPONENT_NODE_PROXY)],
)
def test_pods_have_the_labels_by_which_the_operator_finds_and_admits_them(kind: str, component: str) -> None:
    labels = pod(kind)["metadata"]["labels"]
    assert labels[names.LABEL_COMPONENT] == component
    assert labels[names.LABEL_PART_OF] == "strata"
    workload = helm_chart.one(helm_chart.render(), kind)
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_nothing_of_the_chart_looks_like_a_thing_that_the_operator_made() -> None:
    for body in helm_chart.render({"caBundle": BUNDLE}):
        assert body["metadata"]["labels"][names.LABEL_MANAGED_BY] == "Helm"


def test_settings_without_values_are_the_operators_own_defaults() -> None:
    image = "strata-builder:0.1.0"  # the default is for a checkout
    assert loaded() == settings.Settings("strata-system", pod_name="strata-operator-x", builder_image=image)


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_every_variable_is_one_that_the_program_reads(kind: str) -> None:
    fields = settings.Settings.__dataclass_fields__
    known = {"STRATA_" + name.upper() for name in fields} if kind == "Deployment" else proxy_variables()
    assert environment(kind, EVERYTHING).keys() <= known


def proxy_variables() -> set[str]:
    return set(re.findall(r"^(STRATA_PROXY_\w+)", nodeproxy.__doc__ or "", re.MULTILINE))


EVERYTHING = {
    "operator": {"logFormat": "plain", "logLevel": "DEBUG", "workers": 9, "resyncSeconds": 1000000, "stuckSeconds": 7},
    "builder": {"image": {"repository": "r.example:5000/b", "digest": "sha256:" + "a" * 64, "pullPolicy": "Always"}},
    "builds": {
        "maxConcurrent": 3,
        "maxConcurrentPerNamespace": 2,
        "paused": "storage moves: until Monday",
        "imageVolumes": "Never",
        "contextLimit": "3Gi",
        "platform": "linux/arm64",
        "resources": {"requests": {"cpu": 2, "memory": 2147483648}, "limits": {"memory": "3Gi"}},
        "helperResources": {"requests": {"cpu": "1m"}, "limits": {"memory": "64Mi"}},
        "scratchLimit": "5Gi",
        "imagePullSecrets": [{"name": "mirror"}],
        "priorityClassName": "builds",
        "runtimeClassName": "kata",
        "nodeSelector": {"pool": "builds"},
        "tolerations": [{"key": "builds", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "podLabels": {"team": "a=b,c"},
        "podAnnotations": {"note": '"quoted" <&> ü'},
        "jobTTLSeconds": 5000000,
        "insecureRegistries": ["10.0.0.1:5000", "r.example"],
    },
    "registries": {
        "image": "r.example/registry:3",
        "imagePullSecrets": [{"name": "mirror"}, {"name": "other"}],
        "recheckSeconds": 61,
        "nodeCIDRs": ["10.0.0.0/8", "fd00::/8"],
    },
    "mirrors": {"docker.io": "https://m.example", "quay.io": "http://10.0.0.1:5000/quay"},
    "proxy": {"http": "http://p.example:3128", "https": "http://p.example:3129", "noProxy": [".svc", "10.0.0.0/8"]},
    "caBundle": BUNDLE,
    "pollAllowedCidrs": ["192.168.0.0/16"],
    "polling": {"concurrency": 32, "perHost": 8},
    "webhooks": {"enabled": True, "registryNotifications": True, "trustedProxies": ["10.0.0.0/8", "fd00::/8"]},
    "notifications": {
        "source": "https://c1.example",
        "sinks": [
            {
                "name": "a",
                "url": "https://a.example/x?y=<&>",
                "secretName": "keys",
                "types": ["failed"],
                "mode": "Binary",
            },
            {"name": "b", "url": "http://b.ns.svc:80", "namespaces": ["team-*"]},
        ],
    },
    "clusterDomain": "example.internal",
    "nodeProxy": {"namespace": "elsewhere", "bind": "127.0.0.2", "connections": 1000000, "idleSeconds": 7},
}


def test_values_reach_the_operator() -> None:
    got = loaded(EVERYTHING)
    assert got == settings.Settings(
        namespace="strata-system",
        pod_name="strata-operator-x",
        log_format="plain",
        log_level="DEBUG",
        cluster_domain="example.internal",
        workers=9,
        resync_seconds=1000000.0,
        stuck_seconds=7.0,
        registry_image="r.example/registry:3",
        registry_pull_secrets=("mirror", "other"),
        registry_recheck_seconds=61.0,
        node_proxy_namespace="elsewhere",
        node_cidrs=("10.0.0.0/8", "fd00::/8"),
        builder_image="r.example:5000/b@sha256:" + "a" * 64,
        builder_image_pull_policy="Always",
        max_builds=3,
        max_builds_per_namespace=2,
        paused="storage moves: until Monday",
        image_volumes="Never",
        context_limit_bytes=3 * 1024**3,
        mirrors={"docker.io": "https://m.example", "quay.io": "http://10.0.0.1:5000/quay"},
        insecure_registries=("10.0.0.1:5000", "r.example"),
        platform="linux/arm64",
        build_requests={"cpu": "2", "memory": "2147483648", "ephemeral-storage": "512Mi"},
        build_limits={"memory": "3Gi", "ephemeral-storage": "20Gi"},
        helper_requests={"cpu": "1m", "memory": "96Mi", "ephemeral-storage": "256Mi"},
        helper_limits={"memory": "64Mi", "ephemeral-storage": "20Gi"},
        build_pod={
            "imagePullSecrets": [{"name": "mirror"}],
            "priorityClassName": "builds",
            "runtimeClassName": "kata",
            "nodeSelector": {"pool": "builds"},
            "tolerations": [{"key": "builds", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "labels": {"team": "a=b,c"},
            "annotations": {"note": '"quoted" <&> ü'},
        },
        scratch_limit="5Gi",
        job_ttl_seconds=5000000,
        ca_bundle_file="/etc/strata/ca.crt",
        http_proxy="http://p.example:3128",
        https_proxy="http://p.example:3129",
        no_proxy=".svc,10.0.0.0/8",
        polls_at_once=32,
        polls_per_host=8,
        poll_allowed_cidrs=("192.168.0.0/16",),
        webhook_listen="0.0.0.0:8090",
        webhook_trusted_proxies=("10.0.0.0/8", "fd00::/8"),
        registry_notifications=True,
        notification_source="https://c1.example",
        notification_sinks=(
            {
                "name": "a",
                "url": "https://a.example/x?y=<&>",
                "secretFolder": "/etc/strata-sinks/a",
                "types": ["failed"],
                "mode": "Binary",
            },
            {"name": "b", "url": "http://b.ns.svc:80", "namespaces": ["team-*"]},
        ),
    )


def test_without_node_proxies_the_operator_knows_that_there_are_none() -> None:
    values = {"nodeProxy": {"enabled": False}}
    assert loaded().node_proxy is True
    assert loaded(values).node_proxy is False
    assert not [b for b in helm_chart.render(values) if b["metadata"].get("namespace") == "strata-node-proxy"]


def test_secrets_for_pulling_the_operators_image_are_those_of_its_pods_alone() -> None:
    values = {"imagePullSecrets": [{"name": "regcred"}]}
    for kind in ("Deployment", "DaemonSet"):
        assert pod(kind, values)["spec"]["imagePullSecrets"] == [{"name": "regcred"}]
    assert loaded(values).build_pod == {}


def test_values_reach_the_node_proxy() -> None:
    got = nodeproxy.options(environment("DaemonSet", EVERYTHING))
    assert (got.bind, got.connections, got.idle_seconds) == ("127.0.0.2", 1000000, 7.0)
    assert nodeproxy.options(environment("DaemonSet")) == nodeproxy.Options()


@pytest.mark.parametrize(
    ("limit", "count"),
    [(1, 1), (5000000000, 5000000000), ("17", 17), ("3Ki", 3072), ("512Mi", 512 * 1024**2), ("1Ti", 1024**4)],
)
def test_context_limit_is_bytes_or_has_a_unit(limit: str | int, count: int) -> None:
    assert loaded({"builds": {"contextLimit": limit}}).context_limit_bytes == count


def test_ca_bundle_is_mounted_where_the_setting_says_and_rolls_the_pod_when_it_changes() -> None:
    manifests = helm_chart.render({"caBundle": BUNDLE})
    config = helm_chart.one(manifests, "ConfigMap")
    template = helm_chart.one(manifests, "Deployment")["spec"]["template"]
    (volume,) = (v for v in template["spec"]["volumes"] if "configMap" in v)
    (mount,) = (m for m in template["spec"]["containers"][0]["volumeMounts"] if m["name"] == volume["name"])
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    files = {f"{mount['mountPath']}/{key}": text for key, text in config["data"].items()}
    assert files == {loaded({"caBundle": BUNDLE}).ca_bundle_file: BUNDLE}
    other = pod("Deployment", {"caBundle": BUNDLE + BUNDLE})
    assert other["metadata"]["annotations"] != template["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "strata-operator:0.1.0"),
        ({"repository": "r.example:5000/s/o", "tag": "v2"}, "r.example:5000/s/o:v2"),
        ({"tag": "v2", "digest": "sha256:" + "0" * 64}, "strata-operator@sha256:" + "0" * 64),
    ],
)
def test_operator_and_node_proxy_run_the_same_image(image: dict[str, str], reference: str) -> None:
    values = {"operator": {"image": image}}
    assert container("Deployment", values)["image"] == container("DaemonSet", values)["image"] == reference


def test_programs_are_those_of_the_image() -> None:
    assert container("Deployment")["command"] == ["/.strata/bin/strata-operator"]
    assert container("DaemonSet")["command"] == ["/.strata/bin/strata-nodeproxy"]


def test_node_proxy_has_a_namespace_of_its_own_that_admits_the_hosts_network() -> None:
    manifests = helm_chart.render()
    namespace = helm_chart.one(manifests, "Namespace")["metadata"]
    proxy = helm_chart.one(manifests, "DaemonSet")
    assert namespace["labels"][names.LABEL_POD_SECURITY] == "privileged"
    assert proxy["metadata"]["namespace"] == namespace["name"] != helm_chart.NAMESPACE
    assert loaded().node_proxy_namespace == namespace["name"]
    spec = proxy["spec"]["template"]["spec"]
    assert spec["hostNetwork"] is True
    assert spec["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert spec["automountServiceAccountToken"] is False
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_node_proxy_starts_before_its_table_is_there() -> None:
    (volume,) = pod("DaemonSet")["spec"]["volumes"]
    (mount,) = container("DaemonSet")["volumeMounts"]
    assert volume["configMap"] == {"name": loaded().node_proxy_config_map, "optional": True}
    assert mount["mountPath"] == str(nodeproxy.Options().table.parent)
    assert not [body for body in helm_chart.render() if body["kind"] == "ConfigMap"]


def test_node_proxy_can_be_left_out() -> None:
    manifests = helm_chart.render({"nodeProxy": {"enabled": False}})
    assert not [b for b in manifests if b["kind"] in ("DaemonSet", "Namespace")]
    assert {b["metadata"]["name"] for b in manifests if b["kind"] in ("Role", "RoleBinding")} == {
        "strata-operator-leader"
    }


def test_namespace_of_the_node_proxy_may_be_there_already() -> None:
    manifests = helm_chart.render({"nodeProxy": {"createNamespace": False, "namespace": helm_chart.NAMESPACE}})
    assert not [b for b in manifests if b["kind"] == "Namespace"]
    helm_chart.one(manifests, "DaemonSet")


def test_placement_of_the_operator() -> None:
    values = {
        "nodeSelector": {"kubernetes.io/os": "linux", "pool": "infra"},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "imagePullSecrets": [{"name": "regcred"}],
        "operator": {"priorityClassName": "system-cluster-critical", "podAnnotations": {"a": "b"}},
    }
    template = pod("Deployment", values)
    assert {key: template["spec"][key] for key in values.keys() - {"operator"}} == {
        key: value for key, value in values.items() if key != "operator"
    }
    assert template["spec"]["priorityClassName"] == "system-cluster-critical"
    assert template["metadata"]["annotations"]["a"] == "b"
    assert pod("DaemonSet", values)["spec"]["imagePullSecrets"] == [{"name": "regcred"}]


def test_metrics_service_selects_the_operator() -> None:
    manifests = helm_chart.render({"metrics": {"service": {"port": 9090}}})
    service = helm_chart.one(manifests, "Service")["spec"]
    template = helm_chart.one(manifests, "Deployment")["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert service["ports"] == [{"name": "metrics", "port": 9090, "targetPort": "http"}]


def test_service_monitor_selects_the_metrics_service_alone() -> None:
    assert not [body for body in helm_chart.render() if body["kind"] == "ServiceMonitor"]
    manifests = helm_chart.render({"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prom"}}}})
    monitor, service = helm_chart.one(manifests, "ServiceMonitor"), helm_chart.one(manifests, "Service")
    assert monitor["metadata"]["labels"]["release"] == "prom"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [service["metadata"]["namespace"]]}
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_without_webhooks_nothing_listens_for_them() -> None:
    manifests = helm_chart.render()
    assert not [b for b in manifests if b["metadata"]["name"].endswith("webhooks") or b["kind"] == "Ingress"]
    assert [p["name"] for p in pod("Deployment")["spec"]["containers"][0]["ports"]] == ["http"]
    assert loaded().webhook_listen == ""


def test_webhooks_come_by_a_service_of_the_name_that_registries_know() -> None:
    values = {"webhooks": {"enabled": True, "service": {"type": "LoadBalancer", "annotations": {"a": "b"}}}}
    manifests = helm_chart.render(values)
    service = helm_chart.one(manifests, "Service", notices.SERVICE)
    (port,) = service["spec"]["ports"]
    assert (service["spec"]["type"], service["metadata"]["annotations"]) == ("LoadBalancer", {"a": "b"})
    template = helm_chart.one(manifests, "Deployment")["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    ports = {p["name"]: p["containerPort"] for p in template["spec"]["containers"][0]["ports"]}
    assert ports[port["targetPort"]] == port["port"] == int(loaded(values).webhook_listen.rpartition(":")[2])
    assert not [b for b in manifests if b["kind"] == "Ingress"]


def test_an_ingress_leads_to_deliveries_of_forges_alone() -> None:
    ingress = {
        "enabled": True,
        "host": "h.example",
        "className": "nginx",
        "tlsSecretName": "tls",
        "annotations": {"a": "b"},
    }
    body = helm_chart.one(helm_chart.render({"webhooks": {"enabled": True, "ingress": ingress}}), "Ingress")
    (rule,) = body["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (rule["host"], path["path"], path["pathType"]) == ("h.example", "/hooks/", "Prefix")
    assert path["backend"]["service"] == {"name": notices.SERVICE, "port": {"name": "webhooks"}}
    assert body["spec"]["tls"] == [{"hosts": ["h.example"], "secretName": "tls"}]
    assert (body["spec"]["ingressClassName"], body["metadata"]["annotations"]) == ("nginx", {"a": "b"})


def test_the_secret_of_a_sink_is_mounted_where_the_setting_says_and_may_come_later() -> None:
    spec = pod("Deployment", EVERYTHING)["spec"]
    (volume,) = (v for v in spec["volumes"] if "secret" in v)
    (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == volume["name"])
    assert mount["mountPath"] == loaded(EVERYTHING).notification_sinks[0]["secretFolder"]
    assert mount["readOnly"] is True
    assert (volume["secret"]["secretName"], volume["secret"]["optional"]) == ("keys", True)
