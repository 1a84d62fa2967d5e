"""Looks at the namespace again and again, past the proxy: what was ever there cannot hide by going away."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from strata_operator import names
from support.campaign import api, background

_PAUSE = 0.4
Build = tuple[str, int]  # uid of the ImageBuild, number


class Recorder(background.Background):
    """What the API server had at the last look, and all that any look showed."""

    def __init__(self, server: api.Api) -> None:
        super().__init__("recorder")
        self.bodies: dict[str, api.Body] = {}
        self.pods: list[api.Body] = []
        self.looked = 0.0  # when the last look began, in monotonic seconds
        self.names: dict[str, str] = {}  # uid -> name
        self.entries: dict[Build, dict[str, Any]] = {}
        self.contradictions: list[tuple[str, str]] = []  # name, what two looks said
        self.jobs = defaultdict[tuple[str, int, int], set[str]](set)  # (uid, number, attempt) -> uids of Jobs
        self._server = server

    def work(self) -> None:
        while not self.over.wait(_PAUSE):
            self.look()

    def look(self) -> None:
        began = time.monotonic()
        bodies = self._server.list("imagebuilds")
        for body in bodies:
            self._take(body)
        for job in self._server.list("jobs"):
            self._job(job)
        self.pods = self._server.list("pods", f"?labelSelector={names.LABEL_IMAGEBUILD_UID}")
        for pod in self.pods:
            self._job_of(pod)
        self.bodies = {body["metadata"]["name"]: body for body in bodies}
        self.looked = began

    def history(self, name: str) -> list[dict[str, Any]]:
        """All builds of a name that ever were seen to have ended, each as it was seen last."""
        return [entry for (uid, _), entry in sorted(self.entries.items()) if self.names.get(uid) == name]

    def _take(self, body: api.Body) -> None:
        uid, name = body["metadata"]["uid"], body["metadata"]["name"]
        self.names[uid] = name
        for entry in body.get("status", {}).get("builds", []):
            known = self.entries.get((uid, entry["number"]))
            fixed = ("result", "digest")
            if known and known["result"] == "Succeeded" and any(known.get(k) != entry.get(k) for k in fixed):
                self.contradictions.append((name, f"{name}: build {entry['number']} was {known}, then {entry}"))
            self.entries[uid, entry["number"]] = entry

    def _job(self, job: api.Body) -> None:
        for owner in job["metadata"].get("ownerReferences", [])[:1]:
            if owner["kind"] == "ImageBuild":
                self._note(owner["uid"], job["metadata"])

    def _job_of(self, pod: api.Body) -> None:
        """A Job may come after one look at Jobs and be deleted before the next."""
        for owner in pod["metadata"].get("ownerReferences", [])[:1]:
            if owner["kind"] == "Job":
                self._note(pod["metadata"]["labels"][names.LABEL_IMAGEBUILD_UID], owner)

    def _note(self, build: str, job: api.Body) -> None:
        """`job` has the name and the uid of a Job, `build` is the uid of its ImageBuild."""
        number, attempt, _ = job["name"].rsplit("-", 3)[1:]
        self.jobs[build, int(number), int(attempt)].add(job["uid"])
