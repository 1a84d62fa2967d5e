"""Every Job that there ever was in a namespace, also those that are gone: a second one for an attempt cannot hide."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Self

from support import e2e, kubectl

_SHOWN = (
    '{.metadata.name} {.metadata.uid} {.metadata.ownerReferences[0].name} {.metadata.ownerReferences[0].uid}{"\\n"}'
)


class JobLog:
    """`with JobLog(namespace, file) as jobs:` watches from here on; `file` takes what the watch says."""

    def __init__(self, home: e2e.Namespace, file: Path) -> None:
        self._home = home
        self._file = file

    def __enter__(self) -> Self:
        words = ["-n", self._home.name, "get", "jobs", "--watch", "-o", f"jsonpath={_SHOWN}"]
        with self._file.open("wb") as out:
            self._watch = subprocess.Popen(self._home.k.command(*words), stdout=out, stderr=out)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.kill()
        self._watch.wait(30)

    def attempts(self, build: str) -> dict[tuple[str, int, int], set[str]]:
        """(uid of the ImageBuild, number, attempt) -> uids of the Jobs that were made for it."""
        self._catch_up()
        found = defaultdict[tuple[str, int, int], set[str]](set)
        for line in self._file.read_text().splitlines():
            job, uid, owner, owner_uid = line.split()
            if owner == build:
                number, attempt, _ = job.rsplit("-", 3)[1:]
                found[owner_uid, int(number), int(attempt)].add(uid)
        return found

    def _catch_up(self) -> None:
        """Until the watch has told of every Job that is there now."""
        present = {job["metadata"]["uid"] for job in self._home.all("jobs")}
        kubectl.until(lambda: all(uid in self._file.read_text() for uid in present), what="the watch of Jobs")
        assert self._watch.poll() is None, f"the watch of Jobs has ended: {self._file.read_text()[-500:]}"
