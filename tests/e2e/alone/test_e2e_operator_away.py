"""The operator away for a long time while builds end in every way: no result is lost, and nothing is built twice."""

from __future__ import annotations

import time

import pytest

from support import e2e, faults, missed, waiting

SECONDS = 20 * 60 if faults.LONG else 0  # at least; it is away until every build has ended
FAILS = "exit 3"
BUILDS = {
    "succeeds": waiting.dockerfile(),
    "fails": waiting.dockerfile(FAILS),
    "swept": waiting.dockerfile(),  # its pod is deleted once it has succeeded
    "expired": waiting.dockerfile(),  # its Job goes through a TTL once it has succeeded
    "fails-and-swept": waiting.dockerfile(FAILS),
    "lost": waiting.dockerfile(),  # its pod is deleted while the step runs
    "overdue": waiting.dockerfile(),  # its step is never let go
}


@pytest.fixture(scope="module")
def gone(home, operator, jobs) -> missed.Times | None:
    """It has been away; gives the times that came meanwhile for missed.MISSED, if it was long enough for any."""
    bodies = [e2e.image_build(name, dockerfile) for name, dockerfile in BUILDS.items() if name != "overdue"]
    home.apply({"apiVersion": "v1", "kind": "List", "items": bodies})
    waiting.until_running(home, *(name for name in BUILDS if name != "overdue"))
    times = missed.scheduled(home, 10) if faults.LONG else None
    home.apply(e2e.image_build("overdue", BUILDS["overdue"], timeout="30s"))
    waiting.until_running(home, "overdue")
    with operator.away():
        back = time.monotonic() + SECONDS
        home.apply(e2e.image_build("applied", "FROM busybox:1.36\nLABEL a=b\n"))
        waiting.let_go(home, *(name for name in BUILDS if name not in ("lost", "overdue")))
        for name in ("swept", "expired"):
            _until_phase(home, name, "Succeeded")
        _until_phase(home, "fails-and-swept", "Failed")
        for name in ("swept", "fails-and-swept", "lost"):
            home("delete", "pod", home.pods(name)[0]["metadata"]["name"], "--wait=false")
        _expire(home, home.jobs("expired")[0])
        for name in ("succeeds", "fails", "overdue"):
            home.until(f"the end of {name}", lambda name=name: not _active(home, name), name=name, seconds=90)
        time.sleep(max(back - time.monotonic(), 0))
        assert all(home.conditions(name)["Ready"]["status"] == "Unknown" for name in BUILDS)
        if times:
            missed.until_late(home, times)
        assert not home.status("applied").get("conditions")
    return times


def _until_phase(home: e2e.Namespace, name: str, phase: str) -> None:
    what = f"{name} has {phase}"
    home.until(what, lambda: [p["status"]["phase"] for p in home.pods(name)] == [phase], name=name, seconds=90)


def _active(home: e2e.Namespace, name: str) -> list[e2e.Body]:
    return [pod for pod in home.pods(name) if pod["status"]["phase"] in ("Pending", "Running")]


def _expire(home: e2e.Namespace, job: str) -> None:
    home("patch", "job", job, "--type=merge", "-p", '{"spec": {"ttlSecondsAfterFinished": 1}}')
    home.until("the Job's end", lambda: home.k.get("job", job, namespace=home.name) is None)


@pytest.mark.parametrize("name", ["succeeds", "swept", "expired", "applied"])
def test_what_succeeded_has_succeeded_in_its_first_attempt(gone, home, jobs, name):
    status = home.wait(name, seconds=120)
    assert [(b["number"], b["result"], b["digest"]) for b in status["builds"]] == [(1, "Succeeded", status["digest"])]
    assert status["current"]["attempt"] == 1
    assert {key[1:]: len(made) for key, made in jobs.attempts(name).items()} == {(1, 1): 1}
    assert home.tags(name)[name]["latest"]["digest"] == status["digest"]


def test_what_failed_has_failed_with_its_own_words(gone, home, jobs):
    status = home.wait("fails", "Ready", "False", reason="RunFailed")
    assert "3" in home.conditions("fails")["Ready"]["message"]
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "RunFailed")]
    assert {key[1:]: len(made) for key, made in jobs.attempts("fails").items()} == {(1, 1): 1}
    assert home.tags("fails")["fails"] == {}


def test_what_was_too_slow_was_too_slow(gone, home, jobs):
    status = home.wait("overdue", "Ready", "False", reason="DeadlineExceeded")
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "DeadlineExceeded")]
    assert {key[1:]: len(made) for key, made in jobs.attempts("overdue").items()} == {(1, 1): 1}


def test_what_left_no_result_is_tried_again(gone, home, jobs):
    status = waiting.finish(home, "lost")
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "Succeeded")]
    assert {key[1:]: len(made) for key, made in jobs.attempts("lost").items()} == {(1, 1): 1, (1, 2): 1}


def test_a_failure_that_nobody_saw_is_found_again(gone, home, jobs):
    home.until("the next attempt", lambda: waiting.running(home, "fails-and-swept"), name="fails-and-swept", seconds=90)
    waiting.let_go(home, "fails-and-swept")
    status = home.wait("fails-and-swept", "Ready", "False", reason="RunFailed")
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "RunFailed")]
    assert {key[1:]: len(made) for key, made in jobs.attempts("fails-and-swept").items()} == {(1, 1): 1, (1, 2): 1}


@pytest.mark.skipif(not faults.LONG, reason="it is not away for so long that a time counts as missed")
def test_the_times_that_came_meanwhile_are_one_build_or_none_as_the_spec_says(gone, home):
    missed.until_made_up_for(home, gone)
