"""The small pure parts: spec, inputs, state, tags, places, history, resources, refusals, events."""

from typing import Any

import pytest

from strata_builder import contract, errors
from strata_operator import conditions, names, quantities
from strata_operator.imagebuild import (
    events,
    history,
    inputs,
    isolation,
    memory,
    resources,
    retry,
    spec,
    state,
    status,
    tags,
    target,
    trimming,
)
from support import imagebuilds as ib

FACTS = tags.Facts(number=7, now=ib.NOW, commit=ib.COMMIT, ref="refs/heads/feature/X", revision="feature/X")


# -- spec --


def test_trimming_replaces_contents_by_digests_once():
    body = ib.build(source={"inline": {"a": "secret text"}})
    trimmed = trimming.trim(body)
    assert "secret text" not in str(trimmed)
    assert trimming.trim(trimmed) == trimmed
    assert spec.parse(trimmed) == spec.parse(body)
    assert body["spec"]["source"]["inline"] == {"a": "secret text"}


@pytest.mark.parametrize("path", ["/a", "../a", "a/../../b", "a//b", "a\0b"])
def test_inline_paths_stay_inside(path):
    with pytest.raises(errors.InvalidSpec, match=r"spec\.source\.inline"):
        spec.parse(ib.build(source={"inline": {path: "x"}}))


def test_inline_contents_over_what_a_config_map_holds_are_invalid():
    with pytest.raises(errors.InvalidSpec, match="1000000 are the most"):
        spec.parse(ib.build(source={"inline": {"a": "\U0001f600" * 262144}}))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("336h", 1209600), ("1h1m1s", 3661)])
def test_durations(text, seconds):
    assert spec.duration("spec.timeout", text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1d", "-1s", "1.5h"])
def test_what_is_no_duration_names_the_field(text):
    with pytest.raises(errors.InvalidSpec, match=r"spec\.timeout"):
        spec.duration("spec.timeout", text)


@pytest.mark.parametrize(("value", "size"), [("10Gi", 10 * 1024**3), ("5M", 5_000_000), (12, 12), ("1Ki", 1024)])
def test_sizes(value, size):
    assert spec.quantity("spec.cache.maxSize", value) == size


# -- inputs --


def digest_of(body: Any, repository: str = "team/web", commit: str = "", maps: Any = None) -> str:
    return inputs.digest(spec.parse(body), repository=repository, commit=commit, config_maps=maps or {})


@pytest.mark.parametrize(
    "change",
    [
        {"target": "x"},
        {"args": [{"name": "A", "value": "1"}]},
        {"labels": {"a": "b"}},
        {"secrets": [{"id": "a", "secretRef": {"name": "b", "key": "c"}}]},
        {"sourceDateEpoch": 0},
        {"network": "None"},
        {"dockerfile": {"inline": "FROM scratch\n"}},
        {"source": {"inline": {"a": "1"}}},
        {"output": {"registry": {"name": "main"}, "compression": "Zstd"}},
        {"output": {"registry": {"name": "other"}}},
    ],
)
def test_fields_that_can_change_the_image_are_inputs(change):
    assert digest_of(ib.build(**change)) != digest_of(ib.build())


@pytest.mark.parametrize(
    "change",
    [
        {"timeout": "5m"},
        {"retries": 9},
        {"pod": {"resources": {"limits": {"memory": "9Gi"}}}},
        {"priority": 3},
        {"history": {"succeeded": 1}},
        {"isolation": "Auto"},
        {"cache": {"maxAge": "24h"}},
        {"pullSecrets": [{"name": "x"}]},
        {"triggers": {"baseImages": {"pollInterval": "1h"}}},
        {"output": {"registry": {"name": "main", "namespace": "team"}, "tags": ["v9"]}},
    ],
)
def test_all_other_fields_are_not(change):
    assert digest_of(ib.build(**change)) == digest_of(ib.build())


def test_commit_repository_and_config_maps_are_inputs():
    body = ib.build(source={"configMap": {"name": "site"}})
    one = digest_of(body, maps={"site": {"data": {"a": "1"}}})
    assert digest_of(body, maps={"site": {"data": {"a": "2"}}}) != one
    assert digest_of(body, maps={"site": {"data": {"a": "1"}, "metadata": {"resourceVersion": "9"}}}) == one
    assert digest_of(body, maps={"site": {"data": {"a": "1"}}}, commit="c") != one
    assert digest_of(body, maps={"site": {"data": {"a": "1"}}}, repository="team/x") != one


# -- state and status --


def test_a_state_survives_being_written_and_read():
    current = state.Current(
        3, generation=2, phase=state.RETRYING, reason="Rebuild", attempt=2, retries=1, next_time=ib.NOW + 0.5,
        queued_time=ib.NOW, start_time=ib.NOW + 0.123, no_cache=True, job="j", inputs="sha256:i",
        base_images=(state.MovedBase("debian", "sha256:new", "sha256:old"), state.MovedBase("python", "sha256:p")),
    )  # fmt: skip
    whole = state.State(
        observed_generation=2,
        current=current,
        last_success=state.Success(2, 1, ib.DIGEST, ib.NOW, "Layers"),
        handled_rebuild="r",
        handled_no_cache="n",
        image={"digest": ib.DIGEST, "tags": ["a"]},
        builds=({"number": 2, "result": "Succeeded"},),
        conditions=({"type": "Ready"},),
    )
    assert state.read(state.write(whole)) == whole


def test_a_status_stays_below_sixteen_kibibytes():
    huge = {
        "conditions": [{"type": f"T{n}", "message": "m" * 2048} for n in range(4)],
        "steps": [{"instruction": "i" * 60, "line": n} for n in range(32)],
        "builds": [{"number": n, "result": "RunFailed", "message": "x" * 300} for n in range(20)],
        "baseImages": [{"name": "n" * 512, "digest": ib.DIGEST} for _ in range(32)],
    }
    small = status.fit(huge)
    assert len(str(small)) < status.LIMIT
    assert small["builds"][0]["number"] == 0
    assert len(small["conditions"]) == 4


def test_the_transition_time_moves_only_with_the_status():
    first = conditions.merge([], [conditions.Condition("Ready", "Unknown", "A")], generation=1, now=ib.NOW)
    same = conditions.merge(first, [conditions.Condition("Ready", "Unknown", "B")], generation=1, now=ib.NOW + 9)
    assert same[0]["lastTransitionTime"] == first[0]["lastTransitionTime"]


# -- tags --


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("latest", "latest"),
        ("{commit}", ib.COMMIT),
        ("{shortCommit}", ib.COMMIT[:12]),
        ("{branch}-{build}", "feature-X-7"),
        ("{date}", "20270115"),
    ],
)
def test_placeholders(template, tag):
    assert tags.expand([template], FACTS) == (tag,)


def test_a_tag_that_was_built_is_no_branch():
    facts = tags.Facts(1, ib.NOW, ib.COMMIT, "refs/tags/v1.2")
    assert tags.expand(["{gitTag}"], facts) == ("v1.2",)
    with pytest.raises(errors.InvalidSpec, match="has no value"):
        tags.expand(["{branch}"], facts)


def test_equal_tags_count_once():
    assert tags.expand(["a", "{build}", "7", "a"], FACTS) == ("a", "7")


def test_no_placeholder_makes_a_tag_of_the_cache():
    facts = tags.Facts(1, ib.NOW, ref="refs/heads/cache-linux-amd64")
    with pytest.raises(errors.InvalidSpec, match="Strata's own"):
        tags.expand(["{branch}"], facts)


# -- history, retry, resources --


def test_what_failed_together_is_not_tried_again_together_and_never_later_than_the_longest():
    for delay, longest in ((retry.retry_delay, retry.LONGEST_RETRY), (retry.check_delay, retry.LONGEST_CHECK)):
        delays = [delay(30, f"uid-{n}") for n in range(200)]
        assert 0.75 * longest <= min(delays) < 0.8 * longest
        assert 0.95 * longest < max(delays) <= longest
        assert delay(3, "one") == delay(3, "one")


def test_an_attempt_replaces_its_numbers_entry():
    one = history.add((), {"number": 1, "result": "RunFailed"}, succeeded=5, failed=5)
    two = history.add(one, {"number": 1, "result": "Succeeded"}, succeeded=5, failed=5)
    assert [b["result"] for b in two] == ["Succeeded"]


def test_every_reason_has_a_class():
    assert {retry.class_of(r) for r in contract.NO_RETRY} == {retry.Class.FINAL}
    assert {retry.class_of(r) for r in contract.WAITING} == {retry.Class.WAITING}
    assert retry.class_of("Gibberish") is retry.Class.FINAL


@pytest.mark.parametrize(
    ("wanted", "requests", "limits"),
    [
        ({}, {"memory": "256Mi"}, {"memory": "2Gi"}),
        ({"limits": {"memory": "128Mi"}}, {"memory": "128Mi"}, {"memory": "128Mi"}),
        ({"requests": {"memory": "4Gi"}}, {"memory": "4Gi"}, {"memory": "4Gi"}),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "8Gi"}}, {"memory": "1Gi"}, {"memory": "8Gi"}),
        ({"limits": {"cpu": 2}}, {"memory": "256Mi"}, {"memory": "2Gi", "cpu": "2"}),
    ],
)
def test_resources_of_the_spec_win_and_no_request_is_above_its_limit(wanted, requests, limits):
    found = resources.merged(wanted, requests={"memory": "256Mi"}, limits={"memory": "2Gi"})
    assert found == {"requests": requests, "limits": limits}


@pytest.mark.parametrize(("text", "amount"), [("500m", 0.5), ("1Ki", 1024), ("1e3", 1000), ("1.5Gi", 1610612736)])
def test_quantities(text, amount):
    assert float(quantities.amount(text)) == amount


@pytest.mark.parametrize("text", ["", "lots", "1Zi", "--1"])
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError, match="quantity"):
        quantities.amount(text)


# -- isolation --


@pytest.mark.parametrize(
    ("text", "goal", "runs"),
    [
        ("FROM scratch\nCOPY a /\n", "", False),
        ("FROM busybox\nRUN true\n", "", True),
        ("FROM busybox AS a\nRUN true\nFROM scratch\nCOPY x /\n", "", False),
        ("FROM busybox AS a\nRUN true\nFROM scratch\nCOPY --from=a x /\n", "", True),
        ("FROM busybox AS a\nRUN true\nFROM a\n", "", True),
        ("FROM scratch AS a\nFROM busybox AS b\nRUN true\n", "a", False),
        ("FROM scratch AS a\nFROM busybox AS b\nRUN true\n", "b", True),
    ],
)
def test_whether_a_dockerfile_runs_anything(text, goal, runs):
    assert isolation.runs(text.encode(), goal) is runs


def test_a_broken_dockerfile_is_told_with_its_line():
    failure = isolation.runs(b"FROM scratch\nFRMO x\n", "")
    assert isinstance(failure, contract.Failure)
    assert (failure.reason, failure.line) == ("DockerfileInvalid", 2)
    assert "FRMO" in failure.message
    assert "FROM" in failure.hint


def test_a_target_that_does_not_exist_is_told():
    failure = isolation.runs(b"FROM scratch\n", "nope")
    assert isinstance(failure, contract.Failure)
    assert failure.reason == "DockerfileInvalid"


def test_no_network_needs_a_user_namespace():
    rungs = isolation.rungs("Auto", runs=True, network="None", level="privileged", user_namespaces=True)
    assert rungs == ("UserNS",)
    refused = isolation.rungs("Auto", runs=True, network="None", level="baseline", user_namespaces=True)
    assert isinstance(refused, contract.Failure)
    assert "privileged" in refused.hint


# -- target --


def test_the_template_of_the_registry_names_the_repository():
    found = target.of(ib.registry(), ib.namespace(), spec.parse(ib.build()), ("team", "web"))
    assert isinstance(found, target.Target)
    assert found.repository == "team/web"


# -- events --


def status_with(kind: str, value: str, said: str, **current: Any) -> Any:
    return {"conditions": [{"type": kind, "status": value, "reason": said, "message": "m"}], "current": current}


KEY = names.Key("team", "web")


def test_one_event_a_transition():
    waits = status_with("Building", "True", "RegistryNotReady", number=1, attempt=0, phase="Pending")
    assert events.transition({}, waits, KEY) == events.Event("RegistryNotReady", "m")
    assert events.transition(waits, waits, KEY) is None
    retry_ = status_with("Building", "True", "InfrastructureFailed", number=1, attempt=1, phase="Retrying")
    assert events.transition(waits, retry_, KEY) is not None
    failed = status_with("Stalled", "True", "RunFailed", number=1, attempt=2)
    assert events.transition(retry_, failed, KEY) == events.Event("RunFailed", "m", warning=True)


@pytest.mark.parametrize("phase", ["Starting", "Running"])
@pytest.mark.parametrize("reason", ["SpecChanged", "CommitChanged", "BaseImageChanged", "Scheduled", "ImageLost"])
@pytest.mark.parametrize("attempt", [1, 2])
def test_a_start_is_told_by_the_status_alone(reason, attempt, phase):
    before = status_with("Ready", "True", "Succeeded", number=1, attempt=1)
    after = status_with("Building", "True", "Building", number=2, attempt=attempt, phase=phase, reason=reason)
    assert events.transition(before, after, KEY) is None


REASONS = (
    "SpecChanged",
    "InputsChanged",
    "CommitChanged",
    "BaseImageChanged",
    "Scheduled",
    "Rebuild",
    "NoCache",
    "ImageLost",
)


@pytest.mark.parametrize("reason", [*REASONS, "Resumed"])
@pytest.mark.parametrize(("kind", "value", "said"), [("Ready", "True", "Succeeded"), ("Stalled", "True", "RunFailed")])
def test_the_event_of_an_end_says_what_had_started_the_build(reason, kind, value, said):
    runs = status_with("Building", "True", "Building", number=2, attempt=1, phase="Running", reason=reason)
    phase = state.SUCCEEDED if said == "Succeeded" else state.FAILED
    ends = status_with(kind, value, said, number=2, attempt=1, phase=phase, reason=reason, job="j")
    told = events.transition(runs, ends, KEY)
    assert told is not None
    assert told.note.splitlines()[:2] == ["m", f"trigger: {reason}"]
    ends["current"] |= {"commit": "0123456789abcdef" * 2, "ref": "main"}
    told = events.transition(runs, ends, KEY)
    assert told is not None
    assert told.note.splitlines()[1] == f"trigger: {reason}, commit 0123456789ab of main"
    ends["conditions"][0]["message"] = "long" * 1000
    for ref in ("main", "\u20ac" * 290):
        ends["current"]["ref"] = ref
        told = events.transition(runs, ends, KEY)
        assert told is not None
        assert f"\ntrigger: {reason}, commit 0123456789ab of {ref[:50]}" in told.note
        assert told.note.startswith("longlong")
        assert len(told.note.encode()) <= 1024  # the API server refuses more


def test_the_event_of_an_end_says_which_base_images_had_moved():
    moved = [{"name": f"r.example/{n}:1", "digest": f"sha256:{n}", "previous": "sha256:a"} for n in range(9)]
    ends = status_with("Ready", "True", "Succeeded", number=2, phase=state.SUCCEEDED, reason="BaseImageChanged")
    ends["current"]["baseImages"] = moved[:1]
    told = events.transition({}, ends, KEY)
    assert told is not None
    wanted = "trigger: BaseImageChanged, base image r.example/0:1 moved from sha256:a to sha256:0"
    assert told.note.splitlines()[1] == wanted
    ends["current"]["baseImages"] = [base | {"name": "long" * 100} for base in moved]
    told = events.transition({}, ends, KEY)
    assert told is not None
    assert len(told.note.splitlines()[1]) < 400
    ends["current"]["reason"] = "Rebuild"  # they had moved, too, but somebody had asked for it
    assert "base image" not in str(events.transition({}, ends, KEY))


def test_an_event_is_cut_to_its_limit_and_keeps_the_command_however_long_all_names_are():
    failed = status_with("Stalled", "True", "RunFailed", number=3, attempt=2, phase=state.FAILED, job="j")
    failed["conditions"][0]["message"] = "long" * 1000
    moved = [{"name": f"r.example/{'long' * 100}:1", "digest": f"sha256:{'1' * 64}", "previous": f"sha256:{'2' * 64}"}]
    failed["current"] |= {"reason": "BaseImageChanged", "baseImages": moved, "commit": "c" * 40, "ref": "r" * 1000}
    told = events.transition({}, failed, names.Key("n" * 63, "w" * 253))
    assert told is not None
    assert told.note.endswith("w" * 253 + " -n " + "n" * 63 + " --build 3 --attempt 2")
    assert told.note.startswith("long")
    assert len(told.note.encode()) <= 1024  # the API server refuses more


def test_what_is_no_step_of_a_build_has_no_trigger():
    done = status_with("Ready", "True", "Succeeded", number=2, attempt=1, phase=state.SUCCEEDED, reason="Rebuild")
    refused = status_with(
        "Stalled", "True", "InvalidSpec", number=2, attempt=1, phase=state.SUCCEEDED, reason="Rebuild"
    )
    assert events.transition(done, refused, KEY) == events.Event("InvalidSpec", "m", warning=True)


def test_a_pod_that_takes_the_place_of_another_is_told_of():
    before, after = (
        status_with("Building", "True", "Building", number=1, attempt=1, phase="Running", isolation=rung)
        for rung in ("UserNS", "InPlace")
    )
    before["current"]["reason"] = after["current"]["reason"] = "SpecChanged"
    assert events.transition(before, after, KEY) == events.Event("Building", "m")
    assert events.transition(after, after, KEY) is None


@pytest.mark.parametrize("phase", [state.FAILED, state.RETRYING])
@pytest.mark.parametrize("message", ["short", "long" * 1000, "\u20ac" * 1000, ""])
def test_the_event_of_an_attempt_that_failed_ends_with_the_command_that_prints_its_log(phase, message):
    failed = status_with("Stalled", "True", "RunFailed", number=3, attempt=2, phase=phase, job="j")
    failed["conditions"][0]["message"] = message
    told = events.transition({}, failed, KEY)
    assert told is not None
    assert told.note.endswith("\nlog: strata logs web -n team --build 3 --attempt 2")
    assert told.note.startswith(message[:300])
    assert len(told.note.encode()) <= 1024  # the API server refuses more
    failed["current"]["job"] = ""  # it never had a pod
    told = events.transition({}, failed, KEY)
    assert told is not None
    assert "strata logs" not in told.note


def test_a_stage_that_is_not_there_is_told_with_its_line():
    found = isolation.runs(b"FROM scratch\nCOPY --from=9 /f /f\n", "")
    assert isinstance(found, contract.Failure)
    assert (found.file, found.line) == ("Dockerfile", 2)
    assert "Dockerfile:2" in found.message
    assert "2 | COPY --from=9 /f /f" in found.message
    assert "^" in found.message


@pytest.mark.parametrize(("later", "known"), [(0, True), (60, True), (61, False), (-1, False), (-3600, False)])
def test_what_was_learnt_is_not_known_for_longer_when_the_clock_is_set_back(later, known):
    now = [1000.0]
    learnt = memory.Memory(lambda: now[0])
    learnt.learn("a", 1)
    now[0] += later
    assert (learnt.recall("a", 60) == 1) is known
