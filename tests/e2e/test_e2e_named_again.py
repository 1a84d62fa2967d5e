"""An ImageBuild deleted and made anew at once, and Secrets that are named and missing."""

from __future__ import annotations

from support import e2e

SLOW = "FROM busybox:1.36\nRUN sleep 4; echo {} > /done\n"
READER = "strata-secret-reader"


def with_secret(name: str, secret: str) -> e2e.Body:
    """No step of it mounts the Secret."""
    given = [{"id": "token", "secretRef": {"name": secret, "key": "token"}}]
    return e2e.image_build(name, "FROM scratch\nLABEL a=1\n", secrets=given)


def ready(made: e2e.Namespace, name: str, *, seconds: float) -> None:
    """Waits for Ready of a build that is Stalled until its Secret has been seen."""
    made.until(f"{name} Ready", lambda: made.conditions(name)["Ready"]["status"] == "True", seconds=seconds, name=name)


def test_a_build_made_anew_under_its_name_while_the_old_pod_still_runs(baseline):
    baseline.apply(e2e.image_build("again", SLOW.format("old")))
    running = lambda: [p for p in baseline.pods("again") if p["status"]["phase"] == "Running"]  # noqa: E731
    (old,) = baseline.until("a running pod", running, name="again")
    uid = baseline.get("imagebuild", "again")["metadata"]["uid"]
    baseline("delete", "imagebuild", "again", "--wait=false")
    baseline.until("that it is gone", lambda: baseline.k.get("imagebuild", "again", namespace=baseline.name) is None)
    baseline.apply(e2e.image_build("again", SLOW.format("new")))
    status = baseline.wait("again", seconds=120)
    assert baseline.get("imagebuild", "again")["metadata"]["uid"] != uid
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "Succeeded")]
    (job,) = baseline.jobs("again")
    assert job not in old["metadata"]["name"]
    assert baseline.manifest_digest("again") == status["digest"]
    assert baseline.run(status["image"], "reads", command=["cat", "/done"]).strip() == "new"


def test_a_secret_that_no_step_reads_is_missed_by_the_kubelet_and_found_when_it_comes(home):
    home.apply(with_secret("unread", "comes-later"))
    home.wait("unread", "Ready", "False", reason="ReferenceNotFound", seconds=120)
    assert "comes-later" in home.conditions("unread")["Ready"]["message"]
    home.apply(e2e.secret("comes-later", token="t"))
    ready(home, "unread", seconds=150)


def test_where_secrets_may_be_read_a_missing_one_is_told_before_there_is_a_pod(namespaces):
    made = namespaces("restricted", "reader")
    account = "strata-system:strata-operator"
    made("create", "rolebinding", READER, "--clusterrole", READER, "--serviceaccount", account)
    made.apply(e2e.registry(0, managed=e2e.HIDDEN))
    made.wait(e2e.REGISTRY, kind="registry")
    made.apply(with_secret("early", "comes-later"))
    made.wait("early", "Ready", "False", reason="ReferenceNotFound", seconds=30)
    assert made.jobs("early") == []
    made.apply(e2e.secret("comes-later", token="t"))
    ready(made, "early", seconds=60)
