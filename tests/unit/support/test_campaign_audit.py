"""The auditor of a campaign finds what must not be, each kind of it, and nothing where all is well."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from support.campaign import api, auditing, registrylog, watching, wishes

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
WISH = wishes.Wish("b0-1", wishes.contents("inline", 0, 1), token="t")
FINAL = {"b0-1": WISH}


def condition(kind: str, status: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": 3}


def body() -> api.Body:
    """An ImageBuild that was built, edited and rebuilt."""
    made = WISH.body("")
    made["metadata"] |= {"uid": "u", "generation": 3, "namespace": "team"}
    results = {3: ("Succeeded", DIGEST), 2: ("Superseded", ""), 1: ("Succeeded", OTHER)}
    made["status"] = {
        "observedGeneration": 3,
        "conditions": [condition("Ready", "True"), condition("Building", "False")],
        "current": {"number": 3, "phase": "Succeeded"},
        "lastSuccess": {"number": 3},
        "lastHandledRebuild": "t",
        "digest": DIGEST,
        "builds": [{"number": n, "result": result, "digest": digest} for n, (result, digest) in results.items()],
    }
    return made


def seen(*bodies: api.Body, jobs: dict[tuple[str, int, int], set[str]] | None = None) -> watching.Recorder:
    class Server:
        """Answers with these bodies; the Jobs are given."""

        def list(self, plural: str, _query: str = "") -> list[api.Body]:
            return list(bodies) if plural == "imagebuilds" else []

    found = watching.Recorder(Server())  # type: ignore[arg-type]
    found.look()
    found.jobs.update(jobs or {("u", 1, 1): {"j1"}, ("u", 3, 1): {"j3"}})
    return found


def put(reference: str, times: int = 1) -> list[registrylog.Put]:
    return [registrylog.Put("team/b0-1", reference, "strata")] * times


def problems(found: watching.Recorder) -> list[str]:
    verdict = auditing.Verdict()
    auditing.statuses(verdict, found, FINAL)
    return [one.text for one in verdict.problems]


def test_nothing_is_found_where_all_is_well() -> None:
    found = seen(body())
    assert problems(found) == []
    verdict = auditing.Verdict()
    auditing.pushes(verdict, found, [*put(DIGEST), *put(OTHER), *put("n1"), *put("cache-linux-amd64", 3)], {})
    assert verdict.problems == []
    assert (verdict.facts["image manifests put"], verdict.facts["tags put"]) == (2, 1)


def test_a_job_that_comes_and_goes_between_two_looks_is_known_by_its_pod() -> None:
    """It is deleted on purpose, and its image may be in the registry by then."""
    job = {"kind": "Job", "name": "sib-b0-1-3-1-0badcafe", "uid": "j3"}
    pod = {"metadata": {"labels": {"strata.build/imagebuild-uid": "u"}, "ownerReferences": [job]}}

    class Server:
        def list(self, plural: str, _query: str = "") -> list[api.Body]:
            return {"imagebuilds": [body()], "pods": [pod]}.get(plural, [])

    found = watching.Recorder(Server())  # type: ignore[arg-type]
    found.look()
    assert dict(found.jobs) == {("u", 3, 1): {"j3"}}
    verdict = auditing.Verdict()
    auditing.pushes(verdict, found, put(DIGEST), {})
    assert verdict.problems == []


def _not_ready(one: api.Body) -> None:
    one["status"]["conditions"] = [condition("Ready", "Unknown")]


def _of_an_older_generation(one: api.Body) -> None:
    one["metadata"]["generation"] = 4


def _still_building(one: api.Body) -> None:
    one["status"]["conditions"][1]["status"] = "True"


def _rebuild_forgotten(one: api.Body) -> None:
    one["status"]["lastHandledRebuild"] = "s"


def _failed(one: api.Body) -> None:
    one["status"]["builds"][1]["result"] = "InfrastructureFailed"


def _number_twice(one: api.Body) -> None:
    one["status"]["builds"][1]["number"] = 3


def _out_of_order(one: api.Body) -> None:
    one["status"]["builds"].reverse()


def _another_success(one: api.Body) -> None:
    one["status"]["lastSuccess"]["number"] = 1


WRONGS = (
    _not_ready, _of_an_older_generation, _still_building, _rebuild_forgotten, _failed, _number_twice, _out_of_order,
    _another_success,
)  # fmt: skip


@pytest.mark.parametrize("wrong", WRONGS, ids=lambda wrong: wrong.__name__.strip("_").replace("_", " "))
def test_a_wrong_status_is_found(wrong: Any) -> None:
    one = body()
    wrong(one)
    assert problems(seen(one))


def test_an_imagebuild_that_is_gone_or_that_nobody_asked_for_is_found() -> None:
    assert problems(seen()) == ["not the ImageBuilds: {'b0-1'}"]
    other = body()
    other["metadata"]["name"] = "b0-2"
    assert len(problems(seen(body(), other))) == 2


def test_a_success_that_tells_another_digest_later_is_found() -> None:
    bodies = [body()]
    found = seen(*bodies)
    later = copy.deepcopy(bodies[0])
    later["status"]["builds"][2]["digest"] = DIGEST
    found._take(later)
    assert len(found.contradictions) == 1
    assert len(problems(found)) == 1


def test_a_second_job_of_an_attempt_is_found() -> None:
    verdict = auditing.Verdict()
    auditing.pushes(verdict, seen(body(), jobs={("u", 1, 1): {"j1", "j2"}}), [], {})
    assert len(verdict.problems) == 1


@pytest.mark.parametrize(
    ("jobs", "asked", "fine"),
    [
        ({("u", 1, 1): {"a"}, ("u", 2, 1): {"b"}}, 1, False),  # no attempt was killed
        ({("u", 1, 1): {"a"}, ("u", 2, 1): {"b"}}, 0, False),  # asked for by nobody
        ({("u", 1, 1): {"a"}, ("u", 1, 2): {"b"}}, 1, True),
        ({("u", 1, 1): {"a"}}, 2, False),  # more often than there were attempts
        ({("u", 1, 1): {"a"}, ("u", 2, 1): {"b"}}, 2, True),
    ],
)
def test_an_image_that_is_put_twice_is_found(jobs: Any, asked: int, fine: bool) -> None:
    verdict = auditing.Verdict()
    auditing.pushes(verdict, seen(body(), jobs=jobs), put(DIGEST, 2), {("b0-1", DIGEST): asked, ("b0-2", DIGEST): 9})
    assert (verdict.problems == []) is fine
    assert verdict.facts["of these again"] == 1
    assert all("was put 2 times" in one.text and "Succeeded" in one.text for one in verdict.problems)


@pytest.mark.parametrize(("deleted", "fine"), [({"j1"}, True), ({"j2"}, True), (set(), False), ({"j3"}, False)])
def test_an_attempt_has_a_second_job_only_where_a_fault_has_deleted_the_first(deleted: set[str], fine: bool) -> None:
    verdict = auditing.Verdict()
    jobs = {("u", 1, 1): {"j1", "j2"}}
    auditing.pushes(verdict, seen(body(), jobs=jobs), put(DIGEST, 2), {("b0-1", DIGEST): 1}, deleted)
    assert (verdict.problems == []) is fine


def test_what_was_deleted_in_a_gap_may_have_had_a_job_that_no_look_saw() -> None:
    for name, fine in (("team/gap-1", True), ("team/b0-9", False)):
        verdict = auditing.Verdict()
        auditing.pushes(verdict, seen(body()), [registrylog.Put(name, DIGEST, "strata")], {})
        assert (verdict.problems == []) is fine


def test_a_success_that_is_counted_twice_is_found() -> None:
    line = 'strata_builds_total{{reason="Succeeded",result="succeeded"}} {}\n'
    for told, fine in (({1: line.format("1.0"), 2: line.format("1.0")}, True), ({1: line.format("3.0")}, False)):
        verdict = auditing.Verdict()
        auditing.counted(verdict, seen(body()), told)
        assert (verdict.problems == []) is fine
        assert verdict.facts["builds that succeeded"] == 2


def test_what_a_registry_logs_of_manifests_is_read_over_all_its_files(tmp_path: Path) -> None:
    request = '"http.request.method":"%s","http.request.uri":"/v2/team/a/manifests/%s","http.response.status":%s'
    text = f'2026-01-01T00:00:00Z stderr F {{{request},"msg":"response completed"}}\n'
    folder = tmp_path / "home_strata-main-1_uid" / "registry"
    folder.mkdir(parents=True)
    log = registrylog.Log(tmp_path, "home_strata-main-")
    first = folder / "0.log"
    first.write_text(text % ("PUT", DIGEST, 201) + text % ("PUT", "n1", 400) + (text % ("PUT", "n2", 201))[:40])
    log._read()
    with first.open("a") as file:
        file.write((text % ("PUT", "n2", 201))[40:])
    (folder / "1.log").write_text(text % ("GET", DIGEST, 200) + text % ("PUT", "cache-linux-amd64", 201))
    log._read()
    first.unlink()
    log._read()
    log.stop()
    assert [one.reference for one in log.puts] == [DIGEST, "n2", "cache-linux-amd64"]
