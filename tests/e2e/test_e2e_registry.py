"""Registries on a real cluster: from apply to a Pod that runs an image out of it, and through what may happen later."""

import base64
import subprocess

import pytest

from support import kubectl, managed_registries

pytestmark = pytest.mark.cluster
NAMESPACE = "strata-e2e-registry"
OTHER = "strata-e2e-registry-other"
PUSH_HOST = f"strata-main.{NAMESPACE}.svc.cluster.local:5000"


def registry(name: str = "main", namespace: str = NAMESPACE, **spec) -> dict:
    spec = spec or {"managed": MANAGED}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "strata.build/v1alpha1", "kind": "Registry", "metadata": meta, "spec": spec}


# Not the default port, which another Registry of the cluster may have.
MANAGED = {"storage": {"volume": {"size": "1Gi"}}, "nodeAccess": {"port": 5050}}
SHARED = {"namespaces": "Selector", "selector": {"matchLabels": {"strata-e2e": "friend"}}, "sharedCredentials": True}


@pytest.fixture(scope="module")
def k(strata):
    if strata.where.netns is None:
        pytest.skip("looks into the node of the tests' own cluster")
    strata.ask("delete", "namespace", NAMESPACE, OTHER, "--ignore-not-found", "--wait=true")
    strata("create", "namespace", NAMESPACE)
    strata("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    strata("create", "namespace", OTHER)
    yield strata
    strata.ask("delete", "namespace", NAMESPACE, OTHER, "--wait=false")


@pytest.fixture(scope="module")
def main(k):
    k("apply", "-f", "-", body=registry(managed=MANAGED, access=SHARED))
    return managed_registries.wait_ready(k, NAMESPACE, "registry", "main")


@pytest.fixture(scope="module")
def image(k, main):
    """busybox, pushed with the credentials that builders get; its digest."""
    user, password = managed_registries.login(k, NAMESPACE, "strata-push", PUSH_HOST)
    target = {"host": PUSH_HOST, "ca": main["status"]["caBundle"], "username": user, "password": password}
    source = {"host": k.where.registry, "repository": "library/busybox", "insecure": True}
    return managed_registries.copy_image(source, {**target, "repository": f"{NAMESPACE}/busybox"}, "1.36")


def child(k, kind: str, name: str = "strata-main") -> dict | None:
    return k.get(kind, name, namespace=NAMESPACE)


def test_it_is_ready_with_conditions_endpoints_and_no_secret_in_its_status(k, main):
    status = main["status"]
    assert [c["type"] for c in status["conditions"]] == ["Ready"]
    assert status["conditions"][0]["reason"] == "Serving"
    assert status["endpoints"] == {"push": PUSH_HOST, "node": "localhost:5050"}
    for secret in ("strata-push", "strata-pull"):
        _, password = managed_registries.login(k, NAMESPACE, secret, PUSH_HOST)
        assert password not in str(main)
    k("wait", "--for=condition=Ready", f"--namespace={NAMESPACE}", "registry/main", "--timeout=5s")
    row = k("get", "sreg", "--namespace", NAMESPACE).splitlines()
    assert row[0].split() == ["NAME", "READY", "REASON", "URL", "AGE"]
    assert row[1].split()[:4] == ["main", "True", "Serving", PUSH_HOST]


def ask(k, *arguments: str) -> str:
    """What curl, run in the node, gets: the status code."""
    argv = kubectl.inside(
        k.where, "curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *arguments
    )
    return subprocess.run(
        argv, capture_output=True, text=True, env=kubectl.environment(), timeout=30, check=False
    ).stdout


def test_strangers_are_refused_and_logins_accepted_over_trusted_tls(k, main, tmp_path):
    (tmp_path / "ca.crt").write_text(main["status"]["caBundle"])
    url, trust = f"https://{PUSH_HOST}/v2/", ["--cacert", str(tmp_path / "ca.crt")]
    assert ask(k, *trust, url) == "401"
    user, password = managed_registries.login(k, NAMESPACE, "strata-pull", PUSH_HOST)
    assert ask(k, *trust, "--user", f"{user}:{password}", url) == "200"
    assert ask(k, *trust, "--user", f"{user}:wrong", url) == "401"
    assert ask(k, url) == "000", "the system's certificates must not do"


def run_pod(k, namespace: str, digest: str, *, secret: str) -> None:
    container = {
        "name": "main",
        "image": f"localhost:5050/{NAMESPACE}/busybox@{digest}",
        "imagePullPolicy": "Always",
        "command": ["/bin/busybox", "true"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    spec = {"restartPolicy": "Never", "containers": [container], "imagePullSecrets": [{"name": secret}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "run", "namespace": namespace}, "spec": spec}
    k.ask("delete", "pod", "run", "--namespace", namespace, "--ignore-not-found", "--wait=true")
    k("apply", "-f", "-", body=pod)


@pytest.mark.parametrize("namespace", [NAMESPACE, OTHER])
def test_a_kubelet_pulls_from_it_through_the_node_proxy(k, image, namespace):
    k("label", "namespace", namespace, "--overwrite", "strata-e2e=friend")
    kubectl.until(lambda: k.get("secret", "strata-pull", namespace=namespace), what="the pull secret")
    run_pod(k, namespace, image, secret="strata-pull")
    k("wait", "--for=jsonpath={.status.phase}=Succeeded", f"--namespace={namespace}", "pod/run", "--timeout=60s")


def test_without_the_pull_secret_a_kubelet_gets_nothing(k, image):
    run_pod(k, NAMESPACE, image, secret="absent")

    def refused():
        pod = k.get("pod", "run", namespace=NAMESPACE)
        states = [s["state"].get("waiting", {}) for s in pod["status"].get("containerStatuses", ())]
        return [s for s in states if s.get("reason") in ("ErrImagePull", "ImagePullBackOff")]

    message = kubectl.until(refused, what="a refused pull")[0]["message"]
    assert "no basic auth credentials" in message or "401" in message or "denied" in message


def test_a_namespace_that_is_no_longer_a_friend_loses_its_secrets(k, main):
    k("label", "namespace", OTHER, "--overwrite", "strata-e2e=friend")
    kubectl.until(lambda: k.get("secret", "strata-push", namespace=OTHER), what="the push secret")
    k("label", "namespace", OTHER, "strata-e2e-")
    for name in ("strata-push", "strata-pull"):
        kubectl.until(lambda name=name: not k.get("secret", name, namespace=OTHER), what=f"{name} going")


@pytest.mark.parametrize("kind", ["deployment", "service", "configmap", "networkpolicy"])
def test_a_child_that_is_deleted_comes_back(k, main, kind):
    uid = child(k, kind)["metadata"]["uid"]
    k("delete", kind, "--namespace", NAMESPACE, "strata-main", "--wait=true")
    kubectl.until(lambda: (found := child(k, kind)) and found["metadata"]["uid"] != uid, what=f"a new {kind}")
    managed_registries.wait_ready(k, NAMESPACE, "registry", "main")


def test_secrets_that_are_deleted_come_back_with_the_same_passwords(k, main):
    before = managed_registries.login(k, NAMESPACE, "strata-push", PUSH_HOST)
    for name in ("strata-push", "strata-pull", "strata-registry-serving"):
        k("delete", "secret", "--namespace", NAMESPACE, name)
        again = lambda name=name: k.get("secret", name, namespace=NAMESPACE)  # noqa: E731
        kubectl.until(again, what=f"{name} again", seconds=150)
    assert managed_registries.login(k, NAMESPACE, "strata-push", PUSH_HOST) == before
    managed_registries.wait_ready(k, NAMESPACE, "registry", "main", seconds=150)


def test_drift_is_repaired(k, main):
    patch = '{"spec": {"ports": [{"port": 5000, "targetPort": 1234, "name": "registry", "protocol": "TCP"}]}}'
    k("patch", "service", "--namespace", NAMESPACE, "strata-main", "--type=merge", "-p", patch)
    kubectl.until(
        lambda: child(k, "service")["spec"]["ports"][0]["targetPort"] == "registry", what="the right target port"
    )
    managed_registries.wait_ready(k, NAMESPACE, "registry", "main")


def test_a_changed_spec_rolls_out(k, main):
    patch = '{"spec": {"managed": {"resources": {"limits": {"memory": "300Mi"}}}}}'
    k("patch", "registry", "--namespace", NAMESPACE, "main", "--type=merge", "-p", patch)
    managed_registries.wait_ready(k, NAMESPACE, "registry", "main")
    template = child(k, "deployment")["spec"]["template"]["spec"]
    assert template["containers"][0]["resources"]["limits"] == {"memory": "300Mi"}


def test_a_second_registry_on_the_same_port_says_so(k, main):
    k("apply", "-f", "-", body=registry("second"))
    kubectl.until(lambda: reason(k, "second") == ("False", "PortConflict"), what="PortConflict")
    patch = '{"spec": {"managed": {"nodeAccess": {"port": 5051}}}}'
    k("patch", "registry", "--namespace", NAMESPACE, "second", "--type=merge", "-p", patch)
    found = managed_registries.wait_ready(k, NAMESPACE, "registry", "second")
    assert found["status"]["endpoints"]["node"] == "localhost:5051"
    k("delete", "registry", "--namespace", NAMESPACE, "second", "--wait=true")
    kubectl.until(lambda: "second." not in str(k.get("secret", "strata-registry", namespace=NAMESPACE)["data"]))


def reason(k, name: str, namespace: str = NAMESPACE) -> tuple[str, str]:
    body = k.get("registry", name, namespace=namespace)
    found = {c["type"]: c for c in body.get("status", {}).get("conditions", ())}.get("Ready", {})
    return found.get("status", ""), found.get("reason", "")


def test_an_external_registry_is_probed_with_its_own_credentials(k, main):
    user, password = managed_registries.login(k, NAMESPACE, "strata-push", PUSH_HOST)
    (ca := {"apiVersion": "v1", "kind": "ConfigMap"}).update(
        metadata={"name": "ca", "namespace": OTHER}, data={"ca.crt": main["status"]["caBundle"]}
    )
    k("apply", "-f", "-", body=ca)
    k("apply", "-f", "-", body=basic_auth(user, "wrong"))
    there = {
        "host": PUSH_HOST,
        "caBundle": {"configMapRef": {"name": "ca"}},
        "credentials": {"secretRef": {"name": "login"}},
    }
    k("apply", "-f", "-", body=registry("there", OTHER, external=there))
    kubectl.until(lambda: reason(k, "there", OTHER)[1] == "CredentialsNotReadable", what="CredentialsNotReadable")
    k(*command_of(k.get("registry", "there", namespace=OTHER)))
    kubectl.until(lambda: reason(k, "there", OTHER) == ("False", "CredentialsRejected"), what="CredentialsRejected")
    k("apply", "-f", "-", body=basic_auth(user, password))
    found = managed_registries.wait_ready(k, OTHER, "registry", "there")
    assert found["status"]["endpoints"] == dict.fromkeys(("push", "node", "external"), PUSH_HOST)
    assert managed_registries.login(k, OTHER, "strata-push", PUSH_HOST) == (user, password)
    k("delete", "configmap", "--namespace", OTHER, "ca")
    kubectl.until(lambda: reason(k, "there", OTHER) == ("False", "CABundleNotFound"), what="CABundleNotFound")


def command_of(body: dict) -> list[str]:
    """The words after kubectl of the command that the status shows."""
    message = next(c["message"] for c in body["status"]["conditions"] if c["type"] == "Ready")
    return message.partition("kubectl ")[2].split()


def basic_auth(user: str, password: str) -> dict:
    data = {
        key: base64.b64encode(value.encode()).decode() for key, value in (("username", user), ("password", password))
    }
    meta = {"name": "login", "namespace": OTHER}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/basic-auth", "data": data}


def test_images_outlive_their_registry(k, main, image):
    uid = child(k, "pvc")["metadata"]["uid"]
    k("delete", "registry", "--namespace", NAMESPACE, "main", "--wait=true")
    for kind in ("deployment", "service", "configmap", "networkpolicy"):
        kubectl.until(lambda kind=kind: not child(k, kind), what=f"the {kind} going")
    gone = ("strata-registry", "strata-registry-serving", "strata-pull", "strata-push")
    kubectl.until(lambda: not any(k.get("secret", n, namespace=NAMESPACE) for n in gone), what="the Secrets going")
    k("apply", "-f", "-", body=registry())
    managed_registries.wait_ready(k, NAMESPACE, "registry", "main")
    assert child(k, "pvc")["metadata"]["uid"] == uid
    run_pod(k, NAMESPACE, image, secret="strata-pull")
    k("wait", "--for=jsonpath={.status.phase}=Succeeded", f"--namespace={NAMESPACE}", "pod/run", "--timeout=90s")


def test_a_volume_goes_with_its_registry_if_that_says_so(k):
    spec = {"storage": {"volume": {"size": "1Gi"}}, "reclaimPolicy": "Delete", "nodeAccess": {"mode": "None"}}
    k("apply", "-f", "-", body=registry("brief", managed=spec))
    found = managed_registries.wait_ready(k, NAMESPACE, "registry", "brief")
    assert "node" not in found["status"]["endpoints"]
    assert child(k, "pvc", "strata-brief")
    k("delete", "registry", "--namespace", NAMESPACE, "brief", "--wait=true")
    kubectl.until(lambda: not child(k, "pvc", "strata-brief"), what="the volume claim going")


def test_a_registry_that_does_not_come_up_says_why(k):
    spec = {
        "storage": {"volume": {"size": "1Gi"}},
        "image": "docker.io/library/absent:1",
        "reclaimPolicy": "Delete",
        "nodeAccess": {"mode": "None"},
    }
    k("apply", "-f", "-", body=registry("broken", managed=spec))

    def explained():
        body = k.get("registry", "broken", namespace=NAMESPACE)
        return "ImagePull" in str(body.get("status", {}).get("conditions"))

    kubectl.until(explained, what="the kubelet's words in the status")
    k("delete", "registry", "--namespace", NAMESPACE, "broken", "--wait=true")
