"""What a managed Registry says of every manifest that was put into it: its own log, which outlives its process.

The files are read as they grow and kept open, so that nothing is lost when a container's log is removed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from support.campaign import background

_MANIFEST = re.compile(r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/?]+)")


@dataclass(frozen=True, slots=True)
class Put:
    """A manifest that was accepted, under a digest or a tag."""

    repository: str
    reference: str
    user: str

    @property
    def name(self) -> str:
        """The ImageBuild's, after which its repository is called."""
        return self.repository.rpartition("/")[2]

    @property
    def by_digest(self) -> bool:
        return self.reference.startswith("sha256:")


class Log(background.Background):
    """The logs of the containers of pods whose folder below `pods` begins with `stem`."""

    def __init__(self, pods: Path, stem: str) -> None:
        super().__init__("registry-log")
        self.puts: list[Put] = []
        self._pods = pods
        self._stem = stem
        self._open: dict[tuple[int, int], IO[bytes]] = {}
        self._rest: dict[tuple[int, int], bytes] = {}

    def work(self) -> None:
        while not self.over.wait(0.3):
            self._read()
        self._read()

    def stop(self) -> None:
        super().stop()
        for file in self._open.values():
            file.close()

    def _read(self) -> None:
        for path in self._pods.glob(f"{self._stem}*/*/*.log"):
            try:
                info = path.stat()
                if (info.st_dev, info.st_ino) not in self._open:
                    self._open[info.st_dev, info.st_ino] = path.open("rb")
            except FileNotFoundError:
                continue  # it was just removed
        for key, file in self._open.items():
            *lines, self._rest[key] = (self._rest.get(key, b"") + file.read()).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        """`TIME stdout F TEXT`, as the runtime writes it."""
        text = line.partition(b" F ")[2]
        if b'"PUT"' not in text or b"response completed" not in text:
            return
        said = json.loads(text)
        found = _MANIFEST.fullmatch(said["http.request.uri"].partition("?")[0])
        if found and said["http.request.method"] == "PUT" and said["http.response.status"] == 201:
            self.puts.append(Put(found["repository"], found["reference"], str(said.get("auth.user.name", ""))))
