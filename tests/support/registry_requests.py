"""What clients asked of the real registry, from its access log, and what kind of thing each request moved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from support.registry_process import RegistryProcess

_LINE = re.compile(r'"(\w+) (/v2/\S*) HTTP/1\.1" (\d+) (\d+) ')


@dataclass(frozen=True)
class Request:
    """`digest` is that of the blob that is asked for, sent or mounted; `size` are the bytes of the answer's body."""

    method: str
    path: str
    status: int
    size: int
    digest: str

    @property
    def kind(self) -> str:
        return "manifest" if "/manifests/" in self.path else "mount" if "mount=" in self.path else "blob"


@dataclass
class Requests:
    """Those of one stretch of time, in their order."""

    found: list[Request] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.found)

    def read(self) -> list[str]:
        """The digests of blobs whose bytes came down, one for each time."""
        return [r.digest for r in self.found if r.method == "GET" and r.kind == "blob"]

    def sent(self) -> list[str]:
        """The digests of blobs whose bytes went up."""
        return [r.digest for r in self.found if r.method == "PUT" and r.kind == "blob"]

    def mounted(self) -> list[str]:
        return [r.digest for r in self.found if r.kind == "mount" and r.status == 201]

    def bytes_read(self, wanted: Callable[[str], bool]) -> int:
        return sum(r.size for r in self.found if r.method == "GET" and r.kind == "blob" and wanted(r.digest))

    def of(self, part: str) -> list[Request]:
        return [r for r in self.found if part in r.path]


@contextmanager
def counted(server: RegistryProcess) -> Iterator[Requests]:
    """Holds, at the end, what was asked in between."""
    made, before = Requests(), len(server.log)
    yield made
    made.found += [_request(*found) for found in _LINE.findall(server.log[before:])]


def _request(method: str, path: str, status: str, size: str) -> Request:
    query = parse_qs(urlsplit(path).query)
    named = query.get("digest", query.get("mount", [path.rpartition("/")[2]]))[0]
    return Request(method, path, int(status), int(size), named)
