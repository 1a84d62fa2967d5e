"""The verdict on a campaign. It asks the API server, the registry and `strata build`, never the operator."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from support import e2e
from support.campaign import api, asking, breaking, registrylog, undisturbed, watching, wishes
from support.campaign.problems import DIGEST, LOST, STATUS, TWICE, Problem

_SUCCEEDED = re.compile(r'^strata_builds_total\{reason="Succeeded",result="succeeded"\} (\S+)$', re.MULTILINE)
_LABEL = "?labelSelector=strata.build/imagebuild-uid"


@dataclass
class Verdict:
    """`problems` are what must not be; `facts` are shown."""

    problems: list[Problem] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)

    def require(self, condition: object, kind: str, text: str, name: str = "") -> None:
        if not condition:
            self.problems.append(Problem(kind, text, name))


def lost(verdict: Verdict, askers: Sequence[asking.Asker]) -> None:
    """Whatever was asked for came about while the campaign ran, and what was deleted went."""
    for one in askers:
        verdict.problems += [Problem(LOST, text, name) for name, text in one.lost]


def statuses(verdict: Verdict, seen: watching.Recorder, final: Mapping[str, wishes.Wish]) -> None:
    """Every ImageBuild has what was last asked of it, and a history that can be."""
    verdict.require(
        seen.bodies.keys() == final.keys(), STATUS, f"not the ImageBuilds: {seen.bodies.keys() ^ final.keys()}"
    )
    for name, body in seen.bodies.items():
        wish, status = final.get(name), body.get("status", {})
        verdict.require(wish and wishes.settled(body, wish), STATUS, f"{name} has not come to {wish}: {status}", name)
        numbers = [build["number"] for build in status.get("builds", [])]
        verdict.require(numbers == sorted(set(numbers), reverse=True), STATUS, f"{name}: numbers {numbers}", name)
        results = {build["result"] for build in status.get("builds", [])}
        fine = results <= {"Succeeded", "Superseded"}
        verdict.require(fine, STATUS, f"{name}: results {results}: {status.get('builds')}", name)
    verdict.problems += [Problem(STATUS, text, name) for name, text in seen.contradictions]


def digests(verdict: Verdict, askers: Sequence[asking.Asker], references: undisturbed.References) -> None:
    """Whenever an ImageBuild had what was asked for, its digest was that of an undisturbed build of the same."""
    had = [one for asker in askers for one in asker.had]
    references.compute(contents for asker in askers for contents in asker.contents)
    for one in had:
        expected = references.known[one.wish.contents]
        verdict.require(one.digest == expected, DIGEST, f"{one}: expected {expected}", one.wish.name)
    verdict.facts["digests compared"] = len(had)


def tags(verdict: Verdict, home: e2e.Namespace, seen: watching.Recorder, known: Iterable[str]) -> None:
    """The registry has under every tag of the last ImageBuild of a name what its history says."""
    right = set(known)
    for name, found in home.tags(*seen.bodies).items():
        body = seen.bodies[name]
        status = body.get("status", {})
        latest = found.get("latest", {}).get("digest")
        verdict.require(latest == status.get("digest"), DIGEST, f"{name}: latest is {found}", name)
        for build in status.get("builds", []):
            tagged = found.get(f"n{build['number']}", {}).get("digest")
            same = build["result"] != "Succeeded" or tagged == build["digest"]
            verdict.require(same, DIGEST, f"{name}: n{build['number']} is {tagged}, and {build} was told", name)
        wrong = {tag: image for tag, image in found.items() if image["digest"] not in right}
        verdict.require(not wrong, DIGEST, f"{name}: nobody asked for {wrong}", name)


def pushes(
    verdict: Verdict,
    seen: watching.Recorder,
    puts: Iterable[registrylog.Put],
    asked: Mapping[tuple[str, str], int],
    deleted: AbstractSet[str] = frozenset(),
) -> None:
    """An image is put once for each build that makes it: only what a killed attempt had not finished is put again.

    `asked` is how often an image (a name, a digest) was asked for. What is deleted in a gap nobody waits for: its Job may
    come and go between two looks. `deleted` are uids of Jobs that a fault has deleted: who starts as an operator then, and
    finds a build that was about to have a Job, cannot know that it had one, and makes it again under the same name.
    """
    doubled = {key: uids for key, uids in seen.jobs.items() if len(uids - deleted) > 1}
    verdict.require(not doubled, TWICE, f"two Jobs of one attempt: {doubled}")
    again_for = {seen.names.get(uid, "") for (uid, _, _), uids in seen.jobs.items() if len(uids) > 1}
    attempts = collections.Counter[str]()
    for (uid, _, _), uids in seen.jobs.items():
        attempts[seen.names.get(uid, "")] += len(uids)
    images = [put for put in puts if put.by_digest]
    again = 0
    for (name, digest), count in collections.Counter((put.name, put.reference) for put in images).items():
        again += count - 1
        history = seen.history(name)
        told = f"{name}: {digest} was put {count} times, asked for {asked.get((name, digest), 0)} times: {history}"
        seen_all = attempts[name] or not name.startswith(breaking.GAP)
        verdict.require(not seen_all or count <= attempts[name], TWICE, f"in {attempts[name]} attempts {told}", name)
        retried = any(seen.names.get(uid) == name and attempt > 1 for uid, _, attempt in seen.jobs)
        retried = retried or name in again_for
        verdict.require(count <= max(1, asked.get((name, digest), 1)) or retried, TWICE, told, name)
    verdict.facts |= {
        "Jobs": sum(map(len, seen.jobs.values())),
        "Jobs made again, for a fault had deleted them": sum(len(uids) - 1 for uids in seen.jobs.values()),
        "attempts after the first": sum(attempt > 1 for _, _, attempt in seen.jobs),
        "image manifests put": len(images),
        "of these again": again,
        "tags put": sum(not put.by_digest and not put.reference.startswith("cache-") for put in puts),
    }


def counted(verdict: Verdict, seen: watching.Recorder, told: Mapping[int, str]) -> None:
    """No success was counted twice. What was counted after the last look before a kill is lost with the process."""
    counts = [float(found[1]) for text in told.values() if (found := _SUCCEEDED.search(text))]
    succeeded = sum(entry["result"] == "Succeeded" for entry in seen.entries.values())
    verdict.facts |= {"builds that succeeded": succeeded, "successes counted in metrics": int(sum(counts))}
    verdict.facts["builds superseded"] = sum(entry["result"] == "Superseded" for entry in seen.entries.values())
    verdict.require(sum(counts) <= succeeded, STATUS, f"{sum(counts)} successes counted, {succeeded} in the statuses")


def leftovers(verdict: Verdict, server: api.Api, seen: watching.Recorder) -> None:
    """Jobs that have ended have their end, and belong to somebody; nothing else is left of what builds need."""
    uids = {body["metadata"]["uid"] for body in seen.bodies.values()}
    for job in server.list("jobs"):
        name, owners = job["metadata"]["name"], job["metadata"].get("ownerReferences", [])
        told = {key: job["metadata"].get(key) for key in ("creationTimestamp", "deletionTimestamp", "finalizers")}
        of = [(owner["name"], owner["uid"], owner["uid"] in seen.names) for owner in owners]
        orphan = f"Job {name} of {of} (name, uid, was seen) belongs to nobody: {told}, {job.get('status')}"
        verdict.require(owners and owners[0]["uid"] in uids, STATUS, orphan)
        ends = "ttlSecondsAfterFinished" in job["spec"] or "deletionTimestamp" in job["metadata"]
        verdict.require(ends, STATUS, f"Job {name} has no end")
    running = [pod for pod in server.list("pods", _LABEL) if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    verdict.require(not running, STATUS, f"pods still there: {[pod['metadata']['name'] for pod in running]}")
    maps = [one["metadata"]["name"] for one in server.list("configmaps") if _of_a_build(one)]
    verdict.require(not maps, STATUS, f"ConfigMaps still there: {maps}")


def _of_a_build(config_map: api.Body) -> bool:
    return any(owner["kind"] == "ImageBuild" for owner in config_map["metadata"].get("ownerReferences", ()))
