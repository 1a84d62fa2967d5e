# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""The objects of a managed Registry: what keeps it safe, and what must not change by itself."""

import dataclasses
import json

import pytest

from strata_operator import names, settings
from strata_operator.registry import material, objects, spec, workload
from support import registries

OPTIONS = settings.Settings(namespace="strata-system", node_cidrs=("10.1.0.0/24",))
MATERIAL = material.ensure("main", {}, {}, hosts=["h"], now=1_800_000_000)


def made(body=None, options=OPTIONS, secrets=MATERIAL) -> dict:
    registry = spec.parse(body or registries.managed())
    return {resource.kind: body for resource, body in objects.children(registry, secrets, options)}


def pod(**more) -> dict:
    return made(registries.managed(**more))["Deployment"]["spec"]["template"]["spec"]


def test_all_children_are_in_the_registrys_namespace_labelled_and_owned_save_the_volume():
    children = made()
    assert children.keys() == {"ConfigMap", "PersistentVolumeClaim", "Service", "NetworkPolicy", "Deployment"}
    for kind, body in children.items():
        meta = body["metadata"]
        assert (meta["name"], meta["namespace"]) == ("strata-main", "team")
        assert meta["labels"][names.LABEL_MANAGED_BY] == names.OPERATOR
        assert meta["labels"][names.LABEL_REGISTRY_UID] == "uid-team-main"
        assert ("ownerReferences" in meta) is (kind != "PersistentVolumeClaim")


def test_nothing_that_is_kept_looks_as_if_it_were_an_application_s_of_argo_cd():
    children = made()
    assert not [body for body in children.values() if names.LABEL_INSTANCE in body["metadata"]["labels"]]
    # Pods have an owner, and would all restart at the upgrade that took it from them.
    assert children["Deployment"]["spec"]["template"]["metadata"]["labels"][names.LABEL_INSTANCE] == "main"


def test_the_volume_goes_with_the_registry_only_if_it_says_so():
    claim = made(registries.managed(reclaimPolicy="Delete"))["PersistentVolumeClaim"]
    assert claim["metadata"]["ownerReferences"][0]["uid"] == "uid-team-main"


@pytest.mark.parametrize("storage_class", ["", "fast"])
def test_the_claim_asks_for_what_the_spec_says(storage_class):
    volume = {"size": "5Gi"} | ({"storageClassName": storage_class} if storage_class else {})
    claim = made(registries.managed(storage={"volume": volume}))["PersistentVolumeClaim"]["spec"]
    assert claim["resources"]["requests"]["storage"] == "5Gi"
    assert claim.get("storageClassName", "") == storage_class


def test_the_pod_meets_the_restricted_standard():
    security, container = pod()["securityContext"], pod()["containers"][0]["securityContext"]
    assert security["runAsNonRoot"]
    assert security["runAsUser"] == 65532
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert not container["allowPrivilegeEscalation"]
    assert container["readOnlyRootFilesystem"]
    assert pod()["automountServiceAccountToken"] is False


def test_the_pod_sees_the_keys_of_its_registry_alone_and_never_the_private_secret_as_files():
    secrets = [v["secret"] for v in pod()["volumes"] if "secret" in v]
    assert {s["secretName"] for s in secrets} == {names.SECRET_SERVING}
    keys = [item["key"] for s in secrets for item in s["items"]]
    assert keys == ["main.htpasswd", "main.tls.crt", "main.tls.key"]
    assert all("subPath" not in mount for mount in pod()["containers"][0]["volumeMounts"])
    assert set(keys) <= MATERIAL.served("main").keys()


def test_uploads_in_flight_are_waited_for():
    drain = json.loads(workload.config())["http"]["draintimeout"]
    assert drain == "120s"
    assert pod()["terminationGracePeriodSeconds"] > 120


def test_the_server_is_set_up_to_lose_nothing_and_to_let_nobody_in():
    config = json.loads(workload.config())
    assert "cache" not in config["storage"]
    assert config["storage"]["delete"] == {"enabled": True}
    assert config["storage"]["redirect"] == {"disable": True}
    assert config["http"]["relativeurls"] is True
    assert config["auth"]["htpasswd"]["path"].endswith("/htpasswd")
    assert config["health"]["storagedriver"]["enabled"] is True


def test_liveness_does_not_depend_on_storage():
    container = pod()["containers"][0]
    assert "tcpSocket" in container["livenessProbe"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/", "port": "registry", "scheme": "HTTPS"}


def test_one_pod_at_a_time_holds_the_volume():
    assert made()["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}


def test_new_certificates_roll_the_pod_and_new_passwords_do_not():
    def stamp(secrets):
        return made(secrets=secrets)["Deployment"]["spec"]["template"]["metadata"]["annotations"]

    private, served = MATERIAL.private("main"), MATERIAL.served("main")
    del private[f"main.{material.USER_PUSH}"]
    passwords = material.ensure("main", private, served, hosts=["h"], now=1_800_000_000)
    certificates = material.ensure("main", private, served, hosts=["h2"], now=1_800_000_000)
    assert passwords.htpasswd != MATERIAL.htpasswd
    assert stamp(passwords) == stamp(MATERIAL)
    assert stamp(certificates) != stamp(MATERIAL)


def test_pod_settings_reach_the_pod():
    chosen = {
        "image": "mirror/registry:3.1",
        "resources": {"limits": {"memory": "1Gi"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
    }
    found = pod(**chosen)
    assert found["containers"][0]["image"] == "mirror/registry:3.1"
    assert found["containers"][0]["resources"] == {"limits": {"memory": "1Gi"}}
    assert (found["nodeSelector"], found["tolerations"]) == ({"disk": "ssd"}, [{"key": "k", "operator": "Exists"}])
    assert pod()["containers"][0]["image"] == OPTIONS.registry_image


def peers(body=None) -> list:
    return made(body)["NetworkPolicy"]["spec"]["ingress"][0]["from"]


def test_secrets_for_pulling_the_image_are_the_charts():
    options = dataclasses.replace(OPTIONS, registry_pull_secrets=("mirror",))
    assert made(options=options)["Deployment"]["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "mirror"}]
    assert "imagePullSecrets" not in pod()


def test_where_there_are_no_node_proxies_their_namespace_is_not_admitted():
    def peers(**more):
        options = dataclasses.replace(OPTIONS, node_proxy_namespace="proxies", **more)
        return json.dumps(made(options=options)["NetworkPolicy"])

    assert "proxies" in peers()
    assert "proxies" not in peers(node_proxy=False)


def test_only_builders_the_operator_and_nodes_may_connect():
    builder = {"matchLabels": {names.LABEL_COMPONENT: "builder"}}
    found = peers()
    assert {"podSelector": builder} in found
    assert {"ipBlock": {"cidr": "10.1.0.0/24"}} in found
    assert all(peer for peer in found), "an empty peer would admit everybody"
    assert not [p for p in found if p.get("namespaceSelector") == {}]
    policy = made()["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == made()["Service"]["spec"]["selector"]


def test_builders_of_other_namespaces_may_connect_where_they_have_access():
    access = {"namespaces": "Selector", "selector": {"matchLabels": {"team": "x"}}, "sharedCredentials": True}
    added = [p for p in peers(registries.managed(access=access)) if p not in peers()]
    assert added == [
        {
            "namespaceSelector": {"matchLabels": {"team": "x"}},
            "podSelector": {"matchLabels": {names.LABEL_COMPONENT: "builder"}},
        }
    ]


def test_the_table_of_the_node_proxies_names_the_service_and_whom_to_trust():
    registry = spec.parse(registries.managed())
    hidden = spec.parse(registries.managed("hidden", nodeAccess={"mode": "None"}))
    table = json.loads(objects.proxy_table([(registry, "PEM"), (hidden, "PEM")], "cluster.local"))
    assert table == {"5000": {"host": "strata-main.team.svc.cluster.local", "port": 5000, "caBundle": "PEM"}}


def test_the_certificate_has_the_names_by_which_it_is_called():
    registry = spec.parse(registries.managed())
    hosts = objects.serving_hosts(registry, "cluster.local")
    assert registry.push_host("cluster.local").partition(":")[0] in hosts
    assert "strata-main.team.svc" in hosts


def test_a_registry_that_tells_nobody_is_made_as_it_was_before_any_could():
    plain = made()["Deployment"]["spec"]["template"]
    names_of = [variable["name"] for variable in plain["spec"]["containers"][0]["env"]]
    assert names_of == ["REGISTRY_HTTP_SECRET", "OTEL_TRACES_EXPORTER"]
    known = dataclasses.replace(MATERIAL, notify="a token of a time when it told")
    assert made(secrets=known)["Deployment"]["spec"]["template"] == plain
    expected = names.short_hash(workload.config(), MATERIAL.serving.certificate, MATERIAL.http_secret, length=16)
    assert plain["metadata"]["annotations"] == {names.ANNOTATION_CONFIG_HASH: expected}


def test_a_registry_tells_the_operator_with_a_token_that_is_in_no_object_but_its_secret():
    options = dataclasses.replace(OPTIONS, registry_notifications=True, webhook_listen="0.0.0.0:8090")
    secrets = material.ensure("main", {}, {}, hosts=["h"], now=1_800_000_000, notifies=True)
    assert secrets.private("main")["main.notify-token"] == secrets.notify
    kept = material.ensure("main", secrets.private("main"), secrets.served("main"), hosts=["h"], now=1_800_000_000)
    assert kept.notify == secrets.notify
    children = made(options=options, secrets=secrets)
    assert secrets.notify not in json.dumps(children)
    assert "notify" not in repr(secrets)
    env = {v["name"]: v for v in children["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]}
    (endpoint,) = json.loads(env["REGISTRY_NOTIFICATIONS_ENDPOINTS"]["value"])
    assert endpoint["url"] == (
        "http://strata-operator-webhooks.strata-system.svc.cluster.local:8090/registries/team/main"
    )
    assert endpoint["headers"] == {"Authorization": ["Bearer $(STRATA_NOTIFY_TOKEN)"]}
    order = list(env)
    assert order.index("STRATA_NOTIFY_TOKEN") < order.index("REGISTRY_NOTIFICATIONS_ENDPOINTS")
    assert env["REGISTRY_LOG_LEVEL"]["value"] == "warn"
    other = dataclasses.replace(secrets, notify="another")
    assert made(options=options, secrets=other)["Deployment"] != children["Deployment"]
    assert material.ensure("main", {}, {}, hosts=["h"], now=1_800_000_000).notify == ""
