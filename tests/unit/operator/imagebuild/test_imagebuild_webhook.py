"""The webhook trigger of an ImageBuild: what is said when deliveries are refused, and what a hint has looked at."""

from typing import Any

import pytest

from strata_operator import conditions, controller, metrics, names, settings
from strata_operator.imagebuild import hints, questions
from strata_operator.imagebuild.triggers import poller, pools, webhook
from support import fake_kube, hooking
from support import imagebuilds as ib

HOOK = {"webhook": {"secretRef": {"name": "hook"}}}
SOURCE = {"git": {"url": "https://git.example/app.git", "revision": "main"}}
DEAF = questions.Deaf("AccessNotGranted", "kubectl create rolebinding ...")


def world(**spec: Any) -> ib.World:
    made = ib.World(body=ib.build(source=SOURCE, dockerfile={"path": "Dockerfile"}, triggers=HOOK, **spec))
    made.answers[questions.Commit] = questions.Resolved(ib.COMMIT, "refs/heads/main", ib.NOW)
    return made


def built(made: ib.World) -> None:
    made.settle()
    (job,) = made.jobs.values()
    made.pods["p"] = ib.pod(job, phase="Succeeded", containerStatuses=[ib.ended(message=ib.result())])
    made.settle()


def said(made: ib.World) -> Any:
    return conditions.find(made.body["status"]["conditions"], "Webhook")


def test_nothing_is_said_of_a_webhook_that_can_be_checked() -> None:
    made = world()
    built(made)
    assert said(made) is None
    assert conditions.is_true(made.body["status"]["conditions"], "Ready")
    assert questions.Webhook("hook") in made.asked


def test_one_that_cannot_is_told_beside_the_image_and_looked_at_again() -> None:
    made = world()
    made.answers[questions.Webhook] = DEAF
    built(made)
    assert (said(made)["status"], said(made)["reason"], said(made)["message"]) == ("False", DEAF.reason, DEAF.message)
    assert conditions.is_true(made.body["status"]["conditions"], "Ready")
    decision = made.step()
    assert decision.status is None  # nothing new to write
    assert decision.look_again is not None
    assert decision.look_again <= 60
    made.answers[questions.Webhook] = None
    made.settle()
    assert said(made) is None


def test_it_is_told_from_the_first_look_on_and_its_time_stands() -> None:
    made = world()
    made.answers[questions.Webhook] = DEAF
    made.step()
    first = said(made)
    made.now += 30
    made.settle()
    assert said(made)["lastTransitionTime"] == first["lastTransitionTime"]


def test_without_the_trigger_nobody_is_asked() -> None:
    made = world()
    del made.body["spec"]["triggers"]
    built(made)
    assert questions.Webhook("hook") not in made.asked


def test_with_a_webhook_alone_a_new_commit_is_built_and_the_source_is_looked_at_rarely() -> None:
    made = world()
    built(made)
    decision = made.step()
    assert decision.watch is not None
    assert decision.watch.interval == 6 * 3600
    made.answers[questions.Polled] = questions.Resolved("f" * 40, "refs/heads/main", ib.NOW)
    made.step()
    assert made.body["status"]["current"]["reason"] == "CommitChanged"


def cluster(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    return fake_kube.asked(tmp_path, monkeypatch, names.IMAGEBUILDS, names.SECRETS)


@pytest.mark.asyncio
async def test_each_reason_comes_with_what_to_do(tmp_path, monkeypatch):
    on = settings.Settings(namespace="strata-system", webhook_listen="0.0.0.0:8090")
    off = settings.Settings(namespace="strata-system")
    async with cluster(tmp_path, monkeypatch) as (fake, client):

        async def problem(options: settings.Settings = on) -> Any:
            return await webhook.problem(client, options, "team", "hook")

        found = await problem(off)
        assert (found.reason, "webhooks.enabled" in found.message) == ("WebhooksDisabled", True)
        found = await problem()
        assert found.reason == "ReferenceNotFound"
        assert "kubectl create secret generic hook --namespace team" in found.message
        fake.put(names.SECRETS, hooking.secret("hook", password="x"))
        found = await problem()
        assert (found.reason, "no key token" in found.message) == ("ReferenceNotFound", True)
        fake.fail("GET", "/secrets/hook$", 403, reason="Forbidden")
        found = await problem()
        assert found.reason == "AccessNotGranted"
        assert found.message.endswith(
            "kubectl create rolebinding strata-secret-reader --namespace team --clusterrole strata-secret-reader"
            " --serviceaccount strata-system:strata-operator"
        )
        fake.put(names.SECRETS, hooking.secret("hook", token="x"))
        assert await problem() is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://git.example/app.git", "https://git.example/app"),
        ("https://git.example/app/", "https://GIT.example/app.git"),
        ("ssh://git@git.example/app.git", "ssh://git@git.example/app"),
        ("git@git.example:app.git", "git@git.example:app"),
        ("https://git.example/team/app.git", "git@git.example:team/app.git"),
        ("https://git.example/team/app", "ssh://git@git.example:2222/team/app.git/"),
        ("https://git.example:443/team/app", "http://git.example/team/app"),
        ("git@GIT.example:team/app", "deploy@git.example:/team/app"),
        ("https://[2001:db8::1]:8443/team/app", "ssh://git@[2001:DB8::1]/team/app.git"),
    ],
)
def test_one_repository_is_written_in_several_ways(one: str, other: str) -> None:
    assert hints.canonical(one) == hints.canonical(other)
    assert hints.canonical(one) != hints.canonical(one.replace("app", "App"))


@pytest.mark.parametrize(
    "other",
    [
        "https://git.example/other/app",
        "https://a.git.example/team/app",
        "git@git.example:team",
        "git.example/team/app?x",
    ],
)
def test_other_repositories_are_others(other: str) -> None:
    assert hints.canonical(other) != hints.canonical("https://git.example/team/app")


@pytest.mark.parametrize("url", ["https://[x/app.git", "http://a]/b", "https://[::1/a"])
def test_what_is_no_url_disturbs_no_delivery(url: str) -> None:
    assert hints.canonical(url) == url


@pytest.mark.asyncio
async def test_a_hint_is_for_all_that_are_built_from_the_repository_and_for_no_others(tmp_path, monkeypatch):
    async with cluster(tmp_path, monkeypatch) as (_fake, client):
        frame = controller.Frame(settings.Settings(namespace="strata-system"), metrics.Metrics(), client)
        queued: list[str] = []
        monkeypatch.setattr(frame, "enqueue", lambda _kind, key, _delay: queued.append(key.name))
        polling: Any = poller.Poller(frame, Any, wake=lambda _key: None, clock=lambda: ib.NOW)
        sources = {
            "web": "https://git.example/app.git",
            "polled": "https://GIT.example/app",
            "keyed": "git@git.example:app.git",
            "other": "https://git.example/x",
        }
        for name, url in sources.items():
            key = names.Key("team", name)
            polling.watch(key, pools.Interest(key, url, "main", "", 21600.0))
        queued.clear()
        hint = hints.for_source(polling)
        hint(hooking.build("web"))
        hinted = {url for url in sources.values() if polling._pools.get(url).hinted}
        assert hinted == {sources["web"], sources["polled"], sources["keyed"]}
        assert len(queued) == 3
        hint(hooking.build("web", source={}))
        assert len(queued) == 3
