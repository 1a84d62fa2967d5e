"""Builds on the cluster, from `kubectl apply` to Pods that run what was built."""

from __future__ import annotations

import hashlib
import re

from support import e2e

WEB = """\
FROM busybox:1.36
COPY index.html /www/
USER 65532
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""


def web(name: str = "web", text: str = "hello\n", **spec) -> e2e.Body:
    return e2e.image_build(name, WEB, **{"source": {"inline": {"index.html": text}}, **spec})


def test_an_image_is_built_tagged_and_runs(home, times):
    status = home.build(web())
    times("web, cold", status["metrics"])
    assert re.fullmatch(r"localhost:\d+/.*/web@sha256:[0-9a-f]{64}", status["image"])
    assert status["image"].endswith(status["digest"])
    assert home.manifest_digest("web") == status["digest"]
    assert f"{home.name}/web@{status['digest']}" in home.manifests()
    assert status["current"]["isolation"] == "Layers"
    assert home.serve(status["image"]) == "hello\n"


def test_a_second_build_is_all_from_the_cache_and_gives_the_same_digest(home, times):
    first = home.build(web("again"))
    second = home.rebuild("again", "1")
    times("web, warm", second["metrics"])
    assert second["digest"] == first["digest"]
    assert (second["metrics"]["cacheHits"], second["metrics"]["cacheMisses"]) == (1, 0), second["steps"]
    assert all(step["cached"] for step in second["steps"])
    assert second["lastHandledRebuild"] == "1"


def test_kubectl_get_shows_what_people_want_to_know(home):
    status = home.build(web("shown"))
    head, line = home("get", "imagebuilds", "shown").splitlines()
    assert head.split() == ["NAME", "READY", "REASON", "IMAGE", "AGE"]
    assert line.split()[:4] == ["shown", "True", "Succeeded", status["image"]]


def test_applying_the_same_again_starts_nothing(home):
    home.build(web("same"))
    jobs = home.jobs("same")
    home.apply(web("same"))
    home("label", "imagebuild", "same", "team=a")
    home.wait("same")
    assert home.jobs("same") == jobs
    assert home.status("same")["current"]["number"] == 1


def test_an_edit_supersedes_the_build_that_runs(baseline):
    baseline.apply(e2e.image_build("edited", "FROM busybox:1.36\nRUN sleep 600\n"))
    baseline.until("a running pod", lambda: _running(baseline, "edited"), name="edited")
    baseline.apply(e2e.image_build("edited", "FROM busybox:1.36\nRUN echo second > /which\n"))
    status = baseline.wait("edited")
    results = {b["number"]: (b["result"], b["reason"]) for b in status["builds"]}
    assert results[1][0] == "Cancelled" or "Superseded" in results[1], results
    assert results[2][0] == "Succeeded"
    baseline.until("no running pod", lambda: not _running(baseline, "edited"), name="edited")


def test_a_suspended_build_waits_and_goes_on(home):
    home.apply(web("held", suspend=True))
    home.wait("held", "Suspended", seconds=20)
    assert home.jobs("held") == []
    home("patch", "imagebuild", "held", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    home.wait("held")


def test_deleting_an_image_build_ends_its_pod(baseline):
    baseline.apply(e2e.image_build("deleted", "FROM busybox:1.36\nRUN sleep 600\n"))
    pod = baseline.until("a running pod", lambda: _running(baseline, "deleted"), name="deleted")[0]
    baseline("delete", "imagebuild", "deleted", "--wait=false")
    baseline.until(
        "the pod going", lambda: pod not in [p["metadata"]["name"] for p in baseline.all("pods")], seconds=45
    )


def _running(there: e2e.Namespace, name: str) -> list[str]:
    return [
        p["metadata"]["name"]
        for p in there.pods(name)
        if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]
    ]


def test_tags_are_filled_in_and_all_name_the_digest(home):
    output = {"registry": {"name": "main"}, "tags": ["latest", "build-{build}", "{date}"]}
    status = home.build(web("tagged", output=output))
    assert status["tags"][:2] == ["latest", "build-1"]
    assert re.fullmatch(r"20\d{6}", status["tags"][2])
    assert {home.manifest_digest("tagged", tag) for tag in status["tags"]} == {status["digest"]}


def test_a_name_may_be_as_long_as_kubernetes_allows(home):
    name = ".".join(["n" * 60, "a" * 60, "m" * 60, "e" * 60, "s" * 9])
    assert len(name) == 253
    output = {"registry": {"name": "main"}, "repository": f"{home.name}/long"}
    status = home.build(web(name, output=output))
    assert home.serve(status["image"], "long") == "hello\n"


def test_a_secret_is_there_for_its_step_and_nowhere_else(baseline):
    word = "correct-horse-battery-staple"
    baseline.apply(e2e.secret("login", token=word))
    dockerfile = (
        "FROM busybox:1.36\n"
        "RUN --mount=type=secret,id=token cat /run/secrets/token; sha256sum /run/secrets/token | cut -c1-64 > /sum\n"
        "RUN test ! -e /run/secrets/token\n"
        'CMD ["cat", "/sum"]\n'
    )
    secrets = [{"id": "token", "secretRef": {"name": "login", "key": "token"}}]
    status = baseline.build(e2e.image_build("secret", dockerfile, secrets=secrets))
    assert baseline.run(status["image"], "sum").strip() == hashlib.sha256(word.encode()).hexdigest()
    logs = baseline.logs("secret")
    assert "***" in logs
    assert word not in logs
    assert word not in baseline.image_config("secret")
    assert word not in str(baseline.get("imagebuild", "secret"))
