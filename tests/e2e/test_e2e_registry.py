"""Registries on a real cluster: from apply to a Pod that runs an image out of it, and through what may happen later."""

import base64
import signal
import subprocess

import pytest

from support import kubectl, operator_process

pytestmark = pytest.mark.cluster
NAMESPACE = "strata-e2e-registry"
OTHER = "strata-e2e-registry-other"
PROXY_NAMESPACE = "strata-node-proxy"
PUSH_HOST = f"strata-main.{NAMESPACE}.svc.cluster.local:5000"


def registry(name: str = "main", namespace: str = NAMESPACE, **spec) -> dict:
    spec = spec or {"managed": MANAGED}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "strata.build/v1alpha1", "kind": "Registry", "metadata": meta, "spec": spec}


# Not the default port, which another Registry of the cluster may have.
MANAGED = {"storage": {"volume": {"size": "1Gi"}}, "nodeAccess": {"port": 5050}}
SHARED = {"namespaces": "Selector", "selector": {"matchLabels": {"strata-e2e": "friend"}}, "sharedCredentials": True}


OPERATOR = ("--all-namespaces", "--selector", "app.kubernetes.io/component=operator,app.kubernetes.io/part-of=strata")


@pytest.fixture(scope="module")
def k():
    found = kubectl.current()
    if found.where.netns is None:
        pytest.skip("looks into the node of the tests' own cluster")
    found.ask("delete", "namespace", NAMESPACE, OTHER, "--ignore-not-found", "--wait=true")
    found("create", "namespace", NAMESPACE)
    found("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    found("create", "namespace", OTHER)
    yield found
    found.ask("delete", "namespace", NAMESPACE, OTHER, "--wait=false")


@pytest.fixture(scope="module")
def installed(k) -> bool:
    """Whether the cluster runs an operator of its own, with its node proxies: then that one is tested."""
    return bool(k.get("deployments", *OPERATOR)["items"])


@pytest.fixture(scope="module")
def operator(k, installed, tmp_path_factory):
    """The operator as a process in the node; None if one is installed."""
    if installed:
        yield None
        return
    for plural in ("registries", "imagebuilds"):  # the operator starts its work when both are served
        k.apply_crd(plural)
    k.ask("create", "namespace", PROXY_NAMESPACE)
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with operator_process.operator(log, REGISTRY_RECHECK_SECONDS="3") as process:
        yield process
    k.ask("delete", "namespace", PROXY_NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def proxy(k, installed, operator, tmp_path_factory):
    if installed:
        yield
        return
    folder = tmp_path_factory.mktemp("proxy")
    table = folder / "registries.json"
    table.write_text("{}")
    mounted = operator_process.Mounted(k, PROXY_NAMESPACE, "strata-node-proxy", "registries.json", table)
    mounted.start()
    with operator_process.node_proxy(folder / "proxy.log", table):
        yield
    mounted.end()


@pytest.fixture(scope="module")
def main(k, operator):
    k("apply", "-f", "-", body=registry(managed=MANAGED, access=SHARED))
    return operator_process.wait_ready(k, NAMESPACE, "registry", "main")


@pytest.fixture(scope="module")
def image(k, main):
    """busybox, pushed with the credentials that builders get; its digest."""
    user, password = operator_process.login(k, NAMESPACE, "strata-push", PUSH_HOST)
    target = {"host": PUSH_HOST, "ca": main["status"]["caBundle"], "username": user, "password": password}
    source = {"host": k.where.registry, "repository": "library/busybox", "insecure": True}
    return operator_process.copy_image(source, {**target, "repository": f"{NAMESPACE}/busybox"}, "1.36")


def child(k, kind: str, name: str = "strata-main") -> dict | None:
    return k.get(kind, "--namespace", NAMESPACE, name)


def test_it_is_ready_with_conditions_endpoints_and_no_secret_in_its_status(k, main):
    status = main["status"]
    assert [c["type"] for c in status["conditions"]] == ["Ready"]
    assert status["conditions"][0]["reason"] == "Serving"
    assert status["endpoints"] == {"push": PUSH_HOST, "node": "localhost:5050"}
    for secret in ("strata-push", "strata-pull"):
        _, password = operator_process.login(k, NAMESPACE, secret, PUSH_HOST)
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
    user, password = operator_process.login(k, NAMESPACE, "strata-pull", PUSH_HOST)
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
def test_a_kubelet_pulls_from_it_through_the_node_proxy(k, proxy, image, namespace):
    k("label", "namespace", namespace, "--overwrite", "strata-e2e=friend")
    kubectl.until(lambda: k.get("secret", "--namespace", namespace, "strata-pull"), what="the pull secret")
    run_pod(k, namespace, image, secret="strata-pull")
    k("wait", "--for=jsonpath={.status.phase}=Succeeded", f"--namespace={namespace}", "pod/run", "--timeout=60s")


def test_without_the_pull_secret_a_kubelet_gets_nothing(k, proxy, image):
    run_pod(k, NAMESPACE, image, secret="absent")

    def refused():
        pod = k.get("pod", "--namespace", NAMESPACE, "run")
        states = [s["state"].get("waiting", {}) for s in pod["status"].get("containerStatuses", ())]
        return [s for s in states if s.get("reason") in ("ErrImagePull", "ImagePullBackOff")]

    message = kubectl.until(refused, what="a refused pull")[0]["message"]
    assert "no basic auth credentials" in message or "401" in message or "denied" in message


def test_a_namespace_that_is_no_longer_a_friend_loses_its_secrets(k, main):
    k("label", "namespace", OTHER, "--overwrite", "strata-e2e=friend")
    kubectl.until(lambda: k.get("secret", "--namespace", OTHER, "strata-push"), what="the push secret")
    k("label", "namespace", OTHER, "strata-e2e-")
    for name in ("strata-push", "strata-pull"):
        kubectl.until(lambda name=name: not k.get("secret", "--namespace", OTHER, name), what=f"{name} going")


@pytest.mark.parametrize("kind", ["deployment", "service", "configmap", "networkpolicy"])
def test_a_child_that_is_deleted_comes_back(k, main, kind):
    uid = child(k, kind)["metadata"]["uid"]
    k("delete", kind, "--namespace", NAMESPACE, "strata-main", "--wait=true")
    kubectl.until(lambda: (found := child(k, kind)) and found["metadata"]["uid"] != uid, what=f"a new {kind}")
    operator_process.wait_ready(k, NAMESPACE, "registry", "main")


def test_secrets_that_are_deleted_come_back_with_the_same_passwords(k, main):
    before = operator_process.login(k, NAMESPACE, "strata-push", PUSH_HOST)
    for name in ("strata-push", "strata-pull", "strata-registry-serving"):
        k("delete", "secret", "--namespace", NAMESPACE, name)
        again = lambda name=name: k.get("secret", "--namespace", NAMESPACE, name)  # noqa: E731
        kubectl.until(again, what=f"{name} again", seconds=150)
    assert operator_process.login(k, NAMESPACE, "strata-push", PUSH_HOST) == before
    operator_process.wait_ready(k, NAMESPACE, "registry", "main", seconds=150)


def test_drift_is_repaired(k, main):
    patch = '{"spec": {"ports": [{"port": 5000, "targetPort": 1234, "name": "registry", "protocol": "TCP"}]}}'
    k("patch", "service", "--namespace", NAMESPACE, "strata-main", "--type=merge", "-p", patch)
    kubectl.until(
        lambda: child(k, "service")["spec"]["ports"][0]["targetPort"] == "registry", what="the right target port"
    )
    operator_process.wait_ready(k, NAMESPACE, "registry", "main")


def test_a_changed_spec_rolls_out(k, main):
    patch = '{"spec": {"managed": {"resources": {"limits": {"memory": "300Mi"}}}}}'
    k("patch", "registry", "--namespace", NAMESPACE, "main", "--type=merge", "-p", patch)
    operator_process.wait_ready(k, NAMESPACE, "registry", "main")
    template = child(k, "deployment")["spec"]["template"]["spec"]
    assert template["containers"][0]["resources"]["limits"] == {"memory": "300Mi"}


def test_the_operator_may_be_killed_at_any_moment(k, operator, main):
    before = k("get", "secret", "--namespace", NAMESPACE, "strata-registry", "-o", "jsonpath={.data}")
    if operator:
        operator.kill(signal.SIGKILL)
    else:
        pod = k.get("pods", *OPERATOR)["items"][0]["metadata"]
        k("delete", "pod", "--namespace", pod["namespace"], pod["name"], "--grace-period=0", "--force")
    k("delete", "deployment", "--namespace", NAMESPACE, "strata-main", "--wait=true")
    if operator:
        operator.start()
    kubectl.until(lambda: child(k, "deployment"), what="the Deployment", seconds=120)
    operator_process.wait_ready(k, NAMESPACE, "registry", "main")
    assert k("get", "secret", "--namespace", NAMESPACE, "strata-registry", "-o", "jsonpath={.data}") == before


def test_a_second_registry_on_the_same_port_says_so(k, main):
    k("apply", "-f", "-", body=registry("second"))
    kubectl.until(lambda: reason(k, "second") == ("False", "PortConflict"), what="PortConflict")
    patch = '{"spec": {"managed": {"nodeAccess": {"port": 5051}}}}'
    k("patch", "registry", "--namespace", NAMESPACE, "second", "--type=merge", "-p", patch)
    found = operator_process.wait_ready(k, NAMESPACE, "registry", "second")
    assert found["status"]["endpoints"]["node"] == "localhost:5051"
    k("delete", "registry", "--namespace", NAMESPACE, "second", "--wait=true")
    kubectl.until(lambda: "second." not in str(k.get("secret", "--namespace", NAMESPACE, "strata-registry")["data"]))


def reason(k, name: str, namespace: str = NAMESPACE) -> tuple[str, str]:
    body = k.get("registry", "--namespace", namespace, name)
    found = {c["type"]: c for c in body.get("status", {}).get("conditions", ())}.get("Ready", {})
    return found.get("status", ""), found.get("reason", "")


def test_an_external_registry_is_probed_with_its_own_credentials(k, installed, main):
    user, password = operator_process.login(k, NAMESPACE, "strata-push", PUSH_HOST)
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
    if installed:
        kubectl.until(lambda: reason(k, "there", OTHER)[1] == "CredentialsNotReadable", what="CredentialsNotReadable")
        k(*command_of(k.get("registry", "--namespace", OTHER, "there")))
    kubectl.until(lambda: reason(k, "there", OTHER) == ("False", "CredentialsRejected"), what="CredentialsRejected")
    k("apply", "-f", "-", body=basic_auth(user, password))
    found = operator_process.wait_ready(k, OTHER, "registry", "there")
    assert found["status"]["endpoints"] == dict.fromkeys(("push", "node", "external"), PUSH_HOST)
    assert operator_process.login(k, OTHER, "strata-push", PUSH_HOST) == (user, password)
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


def test_images_outlive_their_registry(k, proxy, main, image):
    uid = child(k, "pvc")["metadata"]["uid"]
    k("delete", "registry", "--namespace", NAMESPACE, "main", "--wait=true")
    for kind in ("deployment", "service", "configmap", "networkpolicy"):
        kubectl.until(lambda kind=kind: not child(k, kind), what=f"the {kind} going")
    gone = ("strata-registry", "strata-registry-serving", "strata-pull", "strata-push")
    kubectl.until(lambda: not any(k.get("secret", "--namespace", NAMESPACE, n) for n in gone), what="the Secrets going")
    k("apply", "-f", "-", body=registry())
    operator_process.wait_ready(k, NAMESPACE, "registry", "main")
    assert child(k, "pvc")["metadata"]["uid"] == uid
    run_pod(k, NAMESPACE, image, secret="strata-pull")
    k("wait", "--for=jsonpath={.status.phase}=Succeeded", f"--namespace={NAMESPACE}", "pod/run", "--timeout=90s")


def test_a_volume_goes_with_its_registry_if_that_says_so(k, operator):
    spec = {"storage": {"volume": {"size": "1Gi"}}, "reclaimPolicy": "Delete", "nodeAccess": {"mode": "None"}}
    k("apply", "-f", "-", body=registry("brief", managed=spec))
    found = operator_process.wait_ready(k, NAMESPACE, "registry", "brief")
    assert "node" not in found["status"]["endpoints"]
    assert child(k, "pvc", "strata-brief")
    k("delete", "registry", "--namespace", NAMESPACE, "brief", "--wait=true")
    kubectl.until(lambda: not child(k, "pvc", "strata-brief"), what="the volume claim going")


def test_a_registry_that_does_not_come_up_says_why(k, operator):
    spec = {
        "storage": {"volume": {"size": "1Gi"}},
        "image": "docker.io/library/absent:1",
        "reclaimPolicy": "Delete",
        "nodeAccess": {"mode": "None"},
    }
    k("apply", "-f", "-", body=registry("broken", managed=spec))

    def explained():
        body = k.get("registry", "--namespace", NAMESPACE, "broken")
        return "ImagePull" in str(body.get("status", {}).get("conditions"))

    kubectl.until(explained, what="the kubelet's words in the status")
    k("delete", "registry", "--namespace", NAMESPACE, "broken", "--wait=true")
