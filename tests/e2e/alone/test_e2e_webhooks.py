"""A push that is built because a webhook tells of it, a registry that tells the operator, and a pod that is told of builds."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hack import images

from strata_operator.notifications import signing
from support import e2e, git_server, kubectl, managed_registries, release

SYSTEM = "strata-system"
TOKEN = "0123456789abcdef-of-the-tests"
KEY = "whsec_" + "aGVsbG8gZnJvbSB0aGUgdGVzdHM="
DOCKERFILE = 'FROM busybox:1.36\nCOPY said /said\nUSER 65532\nCMD ["cat", "/said"]\n'
#: What it answers to each notice of the ImageBuild `stubborn`; 0 is no answer: it closes the connection.
ANSWERS = [503, 0, 204]
SINK = f"""
import collections, http.server, json
tries = collections.defaultdict(lambda: iter({ANSWERS}))
class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        notice, headers = json.loads(body), {{k.lower(): v for k, v in self.headers.items()}}
        answer = next(tries[notice["id"]], 204) if notice["subject"] == "stubborn" else 204
        print(json.dumps({{"headers": headers, "body": body, "answer": answer}}), flush=True)
        if answer:
            self.send_response(answer)
            self.end_headers()
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("", 8080), Sink).serve_forever()
"""
FORGE = """
import json, sys, urllib.error, urllib.request
url, body, *deliveries = sys.argv[1:]
for headers in map(json.loads, deliveries):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=20) as answer:
            print(answer.read().decode().strip())
    except urllib.error.HTTPError as refused:
        print("refused:", refused.code)
"""
OPERATOR = f"{images.OPERATOR.repository}:{images.OPERATOR.tag}"
PYTHON = ["/.strata/bin/python3.11", "-I", "-c"]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def home(strata, namespaces, ports) -> Iterator[e2e.Namespace]:
    """A namespace with a token for deliveries and a sink, and a release that knows of both."""
    made = namespaces("restricted", "hooks")
    made.apply(e2e.secret("hook", token=TOKEN))
    made("create", "rolebinding", "strata-secret-reader", "--clusterrole=strata-secret-reader",
         f"--serviceaccount={SYSTEM}:strata-operator")  # fmt: skip
    made.start(OPERATOR, "sink", command=[*PYTHON, SINK])
    made("label", "pod", "sink", "app=sink")
    made("create", "service", "clusterip", "sink", "--tcp=8080:8080")
    made("wait", "pod", "sink", "--for=condition=Ready", "--timeout=60s")
    strata("-n", SYSTEM, "create", "secret", "generic", "sink-key", f"--from-literal=key={KEY}")
    sink = {"name": "pod", "url": f"http://sink.{made.name}.svc.cluster.local:8080/", "secretName": "sink-key"}
    values = {
        "webhooks": {"enabled": True, "registryNotifications": True},
        "notifications": {"source": "https://c1.example", "sinks": [sink | {"namespaces": [made.name]}]},
    }
    try:
        with release.changed(strata, values):
            made.apply(e2e.registry(next(ports)))
            made.wait(e2e.REGISTRY, kind="registry")
            yield made
    finally:
        strata("-n", SYSTEM, "delete", "secret", "sink-key")


BODY = json.dumps({"ref": "refs/heads/main", "after": "f" * 40})


def signed(token: str) -> dict[str, dict[str, str]]:
    """The headers by which each forge proves that it knows the token."""
    digest = hmac.new(token.encode(), BODY.encode(), hashlib.sha256).hexdigest()
    now = int(time.time())
    standard = signing.sign(token.encode(), "delivery-1", now, BODY.encode())
    return {
        "GitHub": {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={digest}"},
        "Gitea": {"X-Gitea-Event": "push", "X-Gitea-Signature": digest},
        "Forgejo": {"X-Forgejo-Event": "push", "X-Forgejo-Signature": digest},
        "Bitbucket": {"X-Event-Key": "repo:push", "X-Hub-Signature": f"sha256={digest}"},
        "GitLab's secret token": {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": token},
        "GitLab's signing token": {
            "X-Gitlab-Event": "Push Hook",
            "webhook-id": "delivery-1",
            "webhook-timestamp": str(now),
            "webhook-signature": standard,
        },
        "anybody's signature": {"X-Strata-Signature-256": f"sha256={digest}"},
        "anybody's token": {"Authorization": f"Bearer {token}"},
    }


def deliver(home: e2e.Namespace, *deliveries: dict[str, str], to: str = "web") -> list[str]:
    """What a forge that runs as a pod is answered to deliveries with these headers."""
    headers = [json.dumps({"Content-Type": "application/json"} | each) for each in deliveries]
    url = f"http://strata-operator-webhooks.{SYSTEM}.svc.cluster.local:8090/hooks/{home.name}/{to}"
    return home.run(OPERATOR, "forge", command=[*PYTHON, FORGE, url, BODY, *headers]).splitlines()


def requests(home: e2e.Namespace, subject: str) -> list[tuple[dict[str, Any], int]]:
    """What the sink was told of an ImageBuild, in order, and what it answered; the signatures are checked."""
    found = []
    for line in home("logs", "sink").splitlines():
        told = json.loads(line)
        headers, body = told["headers"], told["body"]
        signature = signing.sign(
            signing.key_of(KEY), headers["webhook-id"], int(headers["webhook-timestamp"]), body.encode()
        )
        assert headers["webhook-signature"] == signature
        notice = json.loads(body)
        assert headers["webhook-id"] == notice["id"]
        found.append((notice, told["answer"]))
    return [(notice, answer) for notice, answer in found if notice["subject"] == subject]


def counted(text: str, kind: str) -> int:
    found = re.findall(
        rf'^strata_webhooks_total{{kind="{kind}",result="(?:accepted|ignored)"}} (\S+)$', text, re.MULTILINE
    )
    return sum(int(float(value)) for value in found)


def test_a_push_is_built_because_a_webhook_tells_of_it_and_a_pod_is_told_of_the_build(home, here, folder, strata):
    repository = git_server.Repository.make(folder)
    repository.commit({"Dockerfile": DOCKERFILE, "said": "first\n"})
    with git_server.HttpServer(folder, host=here) as server:
        git = {"url": f"{server.url}/app.git", "revision": "main"}
        hook = {"webhook": {"secretRef": {"name": "hook"}}}
        home.build(e2e.image_build("web", source={"git": git}, triggers=hook))
        assert "Webhook" not in home.conditions("web")
        commit = repository.commit({"Dockerfile": DOCKERFILE, "said": "second\n"})
        assert deliver(home, signed("another")["GitHub"]) == ["refused: 401"]
        assert home.status("web")["source"]["commit"] != commit
        answer = json.loads(deliver(home, signed(TOKEN)["GitHub"])[0])
        assert answer["result"] == "accepted"
        assert "is looked at now" in answer["message"]
        home.until("the pushed commit", lambda: _commit(home, "web") == commit, seconds=60, name="web")
        assert home.status("web")["current"]["reason"] == "CommitChanged"
    second = home.status("web")
    assert home.run(second["image"], "web") == "second\n"

    def told() -> list[dict[str, Any]]:
        return [notice for notice, _ in requests(home, "web") if notice["data"]["number"] == 2]

    home.until("the notice of the second build", lambda: told()[-1:] and told()[-1]["type"].endswith("succeeded"))
    assert [n["type"].rpartition(".")[2] for n in told() if "waiting" not in n["type"]] == ["started", "succeeded"]
    last = told()[-1]
    assert last["source"] == f"https://c1.example/apis/strata.build/v1alpha1/namespaces/{home.name}/imagebuilds"
    assert (last["data"]["digest"], last["data"]["commit"]) == (second["digest"], commit)


def _commit(home: e2e.Namespace, name: str) -> str:
    status = home.status(name)
    return str(status["source"]["commit"]) if status["current"]["phase"] == "Succeeded" else ""


def notified(strata: kubectl.Kubectl, result: str) -> int:
    text = strata("get", "--raw", f"/api/v1/namespaces/{SYSTEM}/services/strata-operator-metrics:metrics/proxy/metrics")
    pattern = rf'^strata_notifications_total{{result="{result}",sink="pod"}} (\S+)$'
    return sum(int(float(value)) for value in re.findall(pattern, text, re.MULTILINE))


def test_what_a_sink_did_not_take_is_told_again_under_its_id_before_anything_else(home, strata):
    before = {result: notified(strata, result) for result in ("delivered", "retried")}
    home.build(e2e.image_build("stubborn", "FROM scratch\nLABEL a=1\n"))

    def taken() -> list[str]:
        return [notice["type"].rpartition(".")[2] for notice, answer in requests(home, "stubborn") if answer == 204]

    home.until("the last notice is taken", lambda: "succeeded" in taken())
    told = requests(home, "stubborn")
    notices = [notice for notice, answer in told if answer == 204]
    assert [kind for kind in taken() if kind != "waiting"] == ["started", "succeeded"]
    expected = [(notice["id"], notice["data"], answer) for notice in notices for answer in ANSWERS]
    assert [(notice["id"], notice["data"], answer) for notice, answer in told] == expected
    retried = len(notices) * (len(ANSWERS) - 1)
    home.until("the last is counted", lambda: notified(strata, "delivered") >= before["delivered"] + len(notices))
    assert notified(strata, "retried") == before["retried"] + retried


def test_each_forge_is_believed_in_its_own_way_and_no_other_token_is(home, here):
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as path:
        repository = git_server.Repository.make(Path(path))
        repository.commit({"Dockerfile": "FROM scratch\nCOPY said /\n", "said": "nothing\n"})
        with git_server.HttpServer(Path(path), host=here) as server:
            git = {"url": f"{server.url}/app.git", "revision": "main"}
            hook = {"webhook": {"secretRef": {"name": "hook"}}}
            home.build(e2e.image_build("forges", source={"git": git}, triggers=hook))
            others = signed("another")
            assert deliver(home, *others.values(), to="forges") == ["refused: 401"] * len(others)
            for forge, headers in signed(TOKEN).items():
                commit = repository.commit({"said": f"{forge}\n"})
                (answer,) = deliver(home, headers, to="forges")
                assert json.loads(answer)["result"] == "accepted", forge
                home.until(
                    f"what was pushed to {forge}",
                    lambda commit=commit: _commit(home, "forges") == commit,
                    seconds=60,
                    name="forges",
                )
    assert home.status("forges")["current"]["number"] == 1 + len(others)


def test_what_somebody_else_pushes_is_the_new_base_of_an_image_as_soon_as_the_registry_tells_of_it(home, strata):
    registry = home.status(e2e.REGISTRY, "registry")
    host = registry["endpoints"]["push"]
    user, password = managed_registries.login(strata, home.name, "strata-push", host)
    side = {"host": host, "ca": registry["caBundle"], "username": user, "password": password}

    def pushed(build: str) -> str:
        home.build(e2e.image_build(build, f"FROM scratch\nLABEL made={build}\n"))
        source, target = (side | {"repository": f"{home.name}/{name}"} for name in (build, "foreign"))
        return managed_registries.copy_image(source, target, "latest")

    first = pushed("one")
    triggers = {"baseImages": {"pollInterval": "24h"}}
    body = e2e.image_build("noticed", f"FROM {host}/{home.name}/foreign\nLABEL a=1\n", triggers=triggers)
    assert home.build(body)["baseImages"][0]["digest"] == first
    second = pushed("two")
    home.until(
        "a build on what was pushed",
        lambda: home.status("noticed").get("baseImages", [{}])[0].get("digest") == second,
        seconds=60,
        name="noticed",
    )
    assert home.status("noticed")["current"]["reason"] == "BaseImageChanged"


def test_a_registry_tells_the_operator_of_what_is_pushed(home, strata):
    def told() -> int:
        raw = f"/api/v1/namespaces/{SYSTEM}/services/strata-operator-metrics:metrics/proxy/metrics"
        return counted(strata("get", "--raw", raw), "registry")

    before = told()
    home.build(e2e.image_build("pushed", "FROM scratch\nLABEL a=1\n"))
    home.until("what the registry tells", lambda: told() > before, seconds=60)
    assert "Bearer" not in home("logs", f"deployment/strata-{e2e.REGISTRY}")


def test_a_webhook_that_cannot_be_checked_says_what_to_type(home):
    hook = {"webhook": {"secretRef": {"name": "absent"}}}
    home.apply(e2e.image_build("deaf", source={"git": {"url": "https://git.invalid/a.git"}}, triggers=hook))
    found = home.until("the condition", lambda: home.conditions("deaf").get("Webhook"), seconds=60)
    assert (found["status"], found["reason"]) == ("False", "ReferenceNotFound")
    assert f"kubectl create secret generic absent --namespace {home.name}" in found["message"]


def test_of_two_operators_either_takes_a_delivery(home, strata):
    deployment = "deployment/strata-operator"
    strata("-n", SYSTEM, "scale", deployment, "--replicas=2")
    try:
        strata("-n", SYSTEM, "rollout", "status", deployment, "--timeout=90s")
        system = e2e.Namespace(strata, SYSTEM)
        selector = "app.kubernetes.io/component=operator,app.kubernetes.io/part-of=strata"
        found = strata.get("pods", namespace=SYSTEM, labelSelector=selector) or {}
        pods = [p["metadata"]["name"] for p in found["items"] if "deletionTimestamp" not in p["metadata"]]
        assert len(pods) == 2

        def both() -> bool:
            told = deliver(home, *[signed(TOKEN)["GitHub"]] * 8)
            answers = [json.loads(line)["result"] for line in told]
            assert answers == ["accepted"] * 8
            return all(counted(system.answer(pod, path="metrics"), "imagebuild") for pod in pods)

        kubectl.until(both, seconds=60, what="deliveries to both")
    finally:
        strata("-n", SYSTEM, "scale", deployment, "--replicas=1")
