"""The history of a build's attempts: each with its reason and the end of its log, bounded, whatever the log holds."""

import json

import pytest

from strata_builder import contract, termination
from strata_operator import names
from strata_operator.imagebuild import attempts, questions, state, status, tags
from support import imagebuilds as ib
from support.imagebuilds import World, ended, running

FAILURE = contract.Failure
TAG = f"cache-log-{attempts.names.short_hash(ib.UID)}"
LOG = f"registry.example:5000/team/web:{TAG}"


def fails(world: World, failure: contract.Failure | str, code: int = 1) -> None:
    """The current attempt runs and fails."""
    world.settle()
    world.pod(ended(code=code, message=failure))
    world.finish(phase="Failed")
    world.settle()


def newest(world: World) -> ib.Body:
    found: ib.Body = world.status["builds"][0]
    return found


def test_each_retried_attempt_is_in_the_history_with_its_reason_and_its_last_lines():
    world = World()
    lost = FAILURE("RegistryUnavailable", "no answer", retryable=True, log="pushing\nconnection refused")
    for number in (1, 2):
        fails(world, lost)
        assert [a["attempt"] for a in world.current["attempts"]] == list(range(number, 0, -1))
        assert "builds" not in world.status
        world.now += 60
    world.succeed()
    assert [(a["attempt"], a["result"]) for a in newest(world)["attempts"]] == [
        (3, "Succeeded"), (2, "RegistryUnavailable"), (1, "RegistryUnavailable"),
    ]  # fmt: skip
    assert newest(world)["result"] == "Succeeded"
    assert newest(world)["attempts"][1]["lastLines"] == "pushing\nconnection refused"
    assert newest(world)["attempts"][1]["message"] == "no answer"
    assert "lastLines" not in newest(world)["attempts"][0]
    assert "attempts" not in world.current
    assert newest(world)["log"] == world.current["log"] == LOG


def test_attempts_of_what_heals_outside_go_on_in_one_entry_and_the_oldest_fall_out():
    world = World()
    for count in range(1, attempts.KEPT + 4):
        fails(world, FAILURE("BaseImageNotFound", f"look {count}", log=f"line {count}"))
        world.now += 1800
    assert len(world.status["builds"]) == 1
    kept = newest(world)["attempts"]
    assert [a["attempt"] for a in kept] == list(range(count, count - attempts.KEPT, -1))
    assert kept[0]["lastLines"] == f"line {count}"


def test_a_build_that_is_superseded_or_suspended_says_so_of_its_attempt():
    world = World()
    world.settle()
    world.pod(running())
    world.settle()
    world.edit(suspend=True)
    world.settle()
    assert [(a["attempt"], a["result"]) for a in newest(world)["attempts"]] == [(1, "Suspended")]


@pytest.mark.parametrize("order", ["suspended", "changed", "invalid", "cancelled"])
def test_an_order_between_two_attempts_leaves_the_reason_and_the_lines_of_the_one_that_failed(order):
    world = World()
    fails(world, FAILURE("RegistryUnavailable", "no answer", retryable=True, log="connection refused"))
    failed = world.current["attempts"][0]
    spec = {"suspended": {"suspend": True}, "changed": {"labels": {"v": "2"}}, "invalid": {"timeout": "soon"}}
    world.annotate(names.ANNOTATION_CANCEL, "1") if order == "cancelled" else world.edit(**spec[order])
    world.settle()
    first = world.status["builds"][-1]
    assert first["result"] in ("Suspended", "Superseded", "Cancelled")
    assert first["attempts"] == [failed]
    assert (failed["result"], failed["lastLines"]) == ("RegistryUnavailable", "connection refused")


@pytest.mark.parametrize("reason", ["DestinationConflict", "QuotaExceeded", "InfrastructureFailed"])
def test_an_attempt_that_ended_for_what_comes_after_its_pod_is_in_the_history(reason):
    world = World(body=ib.build(retries=1))
    world.settle()
    if reason == "DestinationConflict":
        world.pod(ended(message=ib.result()))
        world.answers[questions.Rivals] = (tags.Rival("team/other", True, ("latest",)),)
    else:  # the pod that is to follow in its place is refused
        world.pod(ended(code=contract.ExitCode.NEEDS_SANDBOX))
        world.answers[questions.Admission] = FAILURE(reason, "refused", retryable=True)
    world.settle()
    tried = world.current.get("attempts") or newest(world)["attempts"]
    assert [(a["attempt"], a["result"]) for a in tried] == [(1, reason)]
    world.answers = {}
    world.now += 60
    world.succeed()
    assert [(a["attempt"], a["result"]) for a in newest(world)["attempts"]] == [(2, "Succeeded"), (1, reason)]


def test_what_never_had_a_pod_has_neither_an_attempt_nor_a_log():
    world = World(body=ib.build(output={"registry": {"name": "main"}, "tags": ["{commit}"]}))
    world.settle()
    assert newest(world)["result"] == "InvalidSpec"
    assert {"attempts", "log"}.isdisjoint(newest(world))


def test_without_kept_logs_no_place_is_named():
    world = World(body=ib.build(history={"logs": "None"}))
    fails(world, FAILURE("RunFailed", "exit 1", log="boom"))
    assert "log" not in newest(world)
    assert newest(world)["attempts"][0]["lastLines"] == "boom"


def test_a_status_from_before_there_were_attempts_goes_on():
    world = World()
    world.succeed()
    old = {k: v for k, v in newest(world).items() if k not in ("attempts", "log")}
    world.body["status"]["builds"] = [old]
    world.body["status"]["current"].pop("log")
    world.annotate("strata.build/rebuild", "again")
    world.succeed()
    assert [build["number"] for build in world.status["builds"]] == [2, 1]
    assert world.status["builds"][1] == old


@pytest.mark.parametrize("container", ["build", "push"])
def test_a_container_that_was_killed_leaves_the_end_of_its_log(container):
    """The kubelet takes it where there is no message (FallbackToLogsOnError)."""
    world = World()
    world.settle()
    world.pod(ended(container, 137, "12.00 linking\n13.00 still linking\n", reason="OOMKilled"))
    world.finish(phase="Failed")
    world.settle()
    assert newest(world)["result"] == "OutOfMemory"
    assert newest(world)["attempts"][0]["lastLines"] == "12.00 linking\n13.00 still linking"


def test_a_container_that_was_killed_after_it_had_spoken_gives_its_own_lines():
    world = World()
    world.settle()
    world.pod(ended("build", 1, FAILURE("OutOfMemory", "killed", log="12.00 linking"), reason="OOMKilled"))
    world.finish(phase="Failed")
    world.settle()
    assert newest(world)["attempts"][0]["lastLines"] == "12.00 linking"


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07cleared",
    "\u202egnp.exe",
    "bell\x07\x08\x7f\x9b31m",
    "x" * 100_000,
    "\n".join(f"line {n}" for n in range(500)),
    "\n" * 1000 + "end",
    "é" * 3000,
    "\ud800 half of a pair",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_last_lines_are_few_and_short_and_hold_no_control_characters(text):
    found = attempts.last_lines(text)
    assert found
    assert len(found.encode()) <= attempts.SIZE
    assert len(found.split("\n")) <= attempts.LINES
    assert all(line.isprintable() for line in found.split("\n"))


def test_a_message_with_last_lines_fits_what_the_kubelet_keeps():
    failure = FAILURE("RunFailed", "m" * 4000, hint="h" * 4000, log="l" * 1024)
    text = termination.message(failure)
    assert len(text.encode()) <= termination.LIMIT
    said = contract.decode_result(text)
    assert isinstance(said, contract.Failure)
    assert said.log == failure.log
    assert said.message


def test_a_history_of_the_most_that_may_be_stays_within_the_status():
    tried = [{"attempt": n, "result": "RunFailed", "message": "m" * 200, "lastLines": "l" * 1024} for n in range(11)]
    builds = [{"number": n, "result": "RunFailed", "message": "x" * 300, "attempts": tried} for n in range(20, 0, -1)]
    full = {"conditions": [{"type": "Ready", "message": "m"}], "builds": builds, "steps": [{"line": 1}]}
    before = json.dumps(full)
    small = status.fit(full)
    assert len(json.dumps(small)) <= status.LIMIT
    assert json.dumps(full) == before
    assert [b["number"] for b in small["builds"]] == list(range(20, 0, -1))


def test_lines_of_the_newest_attempt_stay_the_longest():
    tried = [{"attempt": n, "result": "RunFailed", "lastLines": "l" * 1024} for n in range(3)]
    builds = [{"number": n, "result": "RunFailed", "attempts": tried} for n in range(9, 0, -1)]
    small = status.fit({"builds": builds, "current": {"number": 10, "attempts": tried}})
    assert len(json.dumps(small)) <= status.LIMIT
    told = [len([a for a in b["attempts"] if "lastLines" in a]) for b in [small["current"], *small["builds"]]]
    assert told[0] == 3
    assert told == sorted(told, reverse=True)
    assert told[1] > 0


def test_attempts_survive_being_written_and_read():
    current = state.Current(3, attempt=2, log=LOG, attempts=({"attempt": 1, "result": "RunFailed"},))
    whole = state.State(current=current)
    assert state.read(state.write(whole)) == whole
    assert state.write(whole)["current"]["attempts"] == [{"attempt": 1, "result": "RunFailed"}]
