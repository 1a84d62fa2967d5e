"""Who is told, in which bytes, and signed how; and what a status says has happened."""

import base64
import dataclasses
import hashlib
import hmac
import json
from typing import Any

import pytest

from strata_builder import contract
from strata_operator import names
from strata_operator.imagebuild import questions, queueing, tags, transitions
from strata_operator.notifications import cloudevents, notices, signing, sinks
from support import imagebuilds as ib

NOTICE = notices.Notice("failed", "uid/3/1/failed/RunFailed", "team", "web", "2026-01-02T03:04:05.678Z", {"number": 3})


def test_sinks_are_read_and_say_what_they_want() -> None:
    given = {"name": "chat", "url": "https://a.example/x?y=z", "types": ["failed"], "namespaces": ["team-*", "ops"]}
    (sink,) = sinks.parse([given])
    assert (sink.mode, sink.secret_folder) == ("Structured", "")
    assert sink.wants("failed", "team-a")
    assert sink.wants("failed", "ops")
    assert not sink.wants("failed", "team")
    assert not sink.wants("succeeded", "team-a")
    (every,) = sinks.parse([{"name": "all", "url": "http://a"}])
    assert all(every.wants(transition, "any") for transition in sinks.TRANSITIONS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "name must be"),
        ({"name": "Upper"}, "name must be"),
        ({"name": None}, "name must be"),
        ({"url": "ftp://a.example"}, "must begin with http"),
        ({"url": None}, "must begin with http"),
        ({"url": "https:///secret-path"}, "must begin with http"),
        ({"url": "https://[secret-path/"}, "must begin with http"),
        ({"url": "https://a.example:99999/secret-path"}, "must begin with http"),
        ({"url": "https://a.example:secret-path"}, "must begin with http"),
        ({"url": "https://user:pass@a.example"}, "authorization"),
        ({"mode": "Batched"}, "Structured or Binary"),
        ({"types": ["exploded"]}, "exploded"),
        ({"types": "failed"}, "list of texts"),
        ({"namespaces": [1]}, "list of texts"),
        ({"secretName": "x"}, "secretName"),
    ],
)
def test_a_wrong_sink_is_named_with_its_field_and_without_its_url(change: dict[str, Any], said: str) -> None:
    given = {"name": "chat", "url": "https://a.example/secret-path"} | change
    problem = sinks.problem([given])
    assert problem is not None
    assert said in problem
    assert "secret-path" not in problem
    assert "pass" not in problem


def test_two_sinks_of_one_name_are_refused() -> None:
    assert "two sinks" in str(sinks.problem([{"name": "a", "url": "http://a"}] * 2))


def test_an_event_in_structured_mode_is_one_json_document() -> None:
    context = cloudevents.attributes(NOTICE, prefix="https://c1.example/", now="later")
    headers, body = cloudevents.request("Structured", context, NOTICE.data)
    assert headers == {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "uid/3/1/failed/RunFailed",
        "source": "https://c1.example/apis/strata.build/v1alpha1/namespaces/team/imagebuilds",
        "type": "build.strata.imagebuild.failed",
        "subject": "web",
        "time": "2026-01-02T03:04:05.678Z",
        "datacontenttype": "application/json",
        "data": {"number": 3},
    }


def test_an_event_in_binary_mode_has_its_attributes_in_headers() -> None:
    context = cloudevents.attributes(dataclasses.replace(NOTICE, time=""), prefix="", now="2026-01-01T00:00:00Z")
    headers, body = cloudevents.request("Binary", context, {"message": "ü\udcff"})
    assert headers["Content-Type"] == "application/json"
    assert headers["ce-type"] == "build.strata.imagebuild.failed"
    assert headers["ce-time"] == "2026-01-01T00:00:00Z"
    assert headers["ce-source"] == "/apis/strata.build/v1alpha1/namespaces/team/imagebuilds"
    assert "ce-datacontenttype" not in headers
    assert json.loads(body) == {"message": "ü\udcff"}


def test_signatures_are_those_of_standard_webhooks() -> None:
    key = signing.key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")  # the values of its own libraries' tests
    signature = signing.sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    plain = hmac.new(b"plain", b"a.5.b", hashlib.sha256).digest()
    assert signing.sign(signing.key_of("plain"), "a", 5, b"b") == "v1," + base64.b64encode(plain).decode()
    with pytest.raises(ValueError, match="base64"):
        signing.key_of("whsec_%")


class Told:
    """A world whose every status change is told."""

    def __init__(self) -> None:
        self.world = ib.World()
        self.all: list[notices.Notice] = []

    def step(self) -> None:
        before = self.world.body
        self.world.step()
        self.all += transitions.between(before, before["status"], self.world.body["status"])

    def run(self, most: int = 6) -> None:
        for _ in range(most):
            self.step()

    def edit(self, **spec: Any) -> None:
        meta = self.world.body["metadata"]
        self.world.body = {
            **self.world.body,
            "metadata": {**meta, "generation": meta["generation"] + 1},
            "spec": {**self.world.body["spec"], **spec},
        }

    def end(self, message: Any, code: int = 0) -> None:
        """The pod of the running Job ends."""
        (job,) = self.world.jobs.values()
        status = ib.ended(code=code, message=message)
        self.world.pods["p"] = ib.pod(job, phase="Failed" if code else "Succeeded", containerStatuses=[status])
        self.run()

    @property
    def names(self) -> list[str]:
        return [notice.transition for notice in self.all]


def test_a_build_that_goes_well_is_told_twice() -> None:
    told = Told()
    told.run()
    told.end(ib.result())
    assert told.names == ["started", "succeeded"]
    started, succeeded = told.all
    assert started.id == f"{ib.UID}/1/1/started"
    assert succeeded.id == f"{ib.UID}/1/1/succeeded"
    assert succeeded.data["digest"] == ib.DIGEST
    assert succeeded.data["image"].endswith(ib.DIGEST)
    assert {"namespace", "name", "uid", "number", "trigger", "durationSeconds", "reason"} <= succeeded.data.keys()
    assert "digest" not in started.data
    assert succeeded.time == told.world.body["status"]["current"]["completionTime"]


def test_a_failure_a_change_and_a_suspension_are_told_once_each() -> None:
    told = Told()
    told.run()
    told.end(contract.Failure("RunFailed", "step 3 failed", line=3), code=1)
    assert told.names == ["started", "failed"]
    assert told.all[-1].data["reason"] == "RunFailed"
    assert "step 3 failed" in told.all[-1].data["message"]
    told.edit(suspend=True)
    told.run()
    assert told.names[2:] == ["suspended"]
    told.world.jobs.clear()
    told.world.pods.clear()
    told.edit(suspend=False, labels={"a": "b"})
    told.run()
    assert told.names[3:] == ["started"]
    assert len({notice.id for notice in told.all}) == len(told.all)


def test_a_build_that_another_takes_the_place_of_is_told_as_superseded() -> None:
    told = Told()
    told.run()
    told.edit(labels={"a": "b"})
    told.run(8)
    assert told.names[:2] == ["started", "superseded"]
    assert told.all[1].id == f"{ib.UID}/1/1/superseded"
    assert told.names.count("superseded") == 1
    assert told.names[-1] == "started"
    assert told.all[-1].id.startswith(f"{ib.UID}/2/")


def test_waiting_is_told_with_what_for() -> None:
    told = Told()
    told.world.registry = ib.registry(ready=False)
    told.run()
    assert told.names == ["waiting"]
    assert told.all[0].data["reason"] == "RegistryNotReady"
    assert told.all[0].id.endswith("/waiting/RegistryNotReady")


def test_a_queue_is_told() -> None:
    told = Told()
    told.world.answers[questions.Slot] = queueing.Standing(3, queueing.CLUSTER, 4, 9)
    told.run()
    assert told.names == ["queued"]


@pytest.mark.parametrize(
    ("why", "transition", "reason"),
    [
        ("queue", "queued", "Queued"),
        ("registry", "waiting", "RegistryNotReady"),
        ("pause", "waiting", "Paused"),
    ],
)
def test_what_the_next_attempt_waits_for_is_told_as_that_and_the_failure_once(
    why: str, transition: str, reason: str
) -> None:
    told = Told()
    told.run()
    told.end(contract.Failure("InfrastructureFailed", "the node went away", retryable=True), code=1)
    assert told.names == ["started", "retrying"]
    told.world.jobs.clear()
    told.world.pods.clear()
    if why == "queue":
        told.world.answers[questions.Slot] = queueing.Standing(3, queueing.CLUSTER, 4, 9)
    elif why == "registry":
        told.world.registry = ib.registry(ready=False)
    else:
        told.world.paused = "the storage moves"
    told.world.now += 60
    told.run()
    assert told.names[2:] == [transition]
    assert told.all[-1].data["reason"] == reason


def test_nothing_to_do_for_a_new_generation_is_told_once() -> None:
    told = Told()
    told.run()
    told.end(ib.result())
    told.edit(timeout="2h")
    told.run()
    assert told.names[2:] == ["unchanged"]
    assert told.all[-1].id == f"{ib.UID}/1/1/unchanged/2"


def test_an_end_is_told_again_by_the_next_process_if_it_was_a_moment_ago() -> None:
    told = Told()
    told.run()
    told.end(ib.result())
    again = transitions.of(told.world.body, told.world.body["status"])
    assert again == told.all[-1]
    assert transitions.ended_since(again, ib.NOW - 60)
    assert not transitions.ended_since(again, ib.NOW + 3600)
    assert not transitions.ended_since(told.all[0], 0)
    assert not transitions.ended_since(None, 0)


def test_every_transition_that_is_told_is_in_the_list() -> None:
    assert set(transitions._PHASES.values()) <= set(sinks.TRANSITIONS)
    assert set(sinks.TRANSITIONS) >= transitions._OF_A_GENERATION | transitions._TOLD_APART_BY_REASON


def test_a_cancelled_build_is_told_as_such() -> None:
    told = Told()
    told.run()
    told.world.body["metadata"]["annotations"] = {names.ANNOTATION_CANCEL: "1"}
    told.run()
    assert told.names == ["started", "cancelled"]
    assert told.all[-1].data["reason"] == "Cancelled"


@pytest.mark.parametrize("before", ["succeeded", "cancelled"])
def test_a_new_spec_that_is_refused_is_told_once_a_generation_though_no_build_has_failed(before: str) -> None:
    told = Told()
    told.run()
    told.end(ib.result())
    if before == "cancelled":
        told.world.annotate(names.ANNOTATION_REBUILD, "1")
        told.run()
        told.world.annotate(names.ANNOTATION_CANCEL, "1")
        told.run()
    assert told.names[-1] == before
    told.world.answers[questions.Rivals] = (tags.Rival("team/other", older=True, tags=("v1",)),)
    count = len(told.all)
    for _ in range(2):
        told.edit(output={"registry": {"name": "main"}, "tags": ["v1"]})
        told.run()
        told.edit(output={"registry": {"name": "main"}, "tags": ["v2"]})
        told.run()
    assert told.names[count:] == (["failed", "unchanged"] if before == "succeeded" else ["failed"]) * 2
    refused = [notice for notice in told.all if notice.transition == "failed"]
    assert {notice.data["reason"] for notice in refused} == {"DestinationConflict"}
    assert [notice.data["generation"] for notice in refused] == [2, 4]
    assert not any("number" in notice.data or notice.time for notice in refused)
    assert len({notice.id for notice in told.all}) == len(told.all)


def test_a_first_spec_that_cannot_be_read_is_told() -> None:
    told = Told()
    told.edit(timeout="soon")
    told.run()
    assert [(notice.transition, notice.data["reason"]) for notice in told.all] == [("failed", "InvalidSpec")]
