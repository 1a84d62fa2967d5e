"""What a registry sees: the bytes of its port, its requests, and the blobs that were fetched and sent."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote

_LINE = re.compile(r'"(GET|HEAD|POST|PUT|PATCH|DELETE) (/v2/\S*) HTTP/[\d.]+" (\d+) (\d+)')
_BLOB = re.compile(r"/blobs/(sha256:[0-9a-f]{64})$")
_SENT = re.compile(r"[?&]digest=(sha256:[0-9a-f]{64})")


class Traffic:
    """Counts what goes to a TCP port of this machine and comes from it, as the kernel's packet filter sees it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._table = f"strata_bench_{port}"

    def __enter__(self) -> Self:
        rules = f"tcp dport {self._port} counter name up\ntcp sport {self._port} counter name down\n"
        chain = f"chain out {{ type filter hook output priority 0; policy accept;\n{rules}}}"
        _nft(f"table inet {self._table} {{ counter up {{}}\ncounter down {{}}\n{chain}\n}}")
        return self

    def __exit__(self, *_: object) -> None:
        _nft(f"delete table inet {self._table}")

    def bytes(self, direction: str) -> int:
        """Bytes `up` or `down` since the start, headers included."""
        words = _nft(f"list counter inet {self._table} {direction}").split()
        return int(words[words.index("bytes") + 1])


def _nft(text: str) -> str:
    return subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True, slots=True)
class Seen:
    """Of some requests: how many, the bytes of each blob that was fetched, and how often each was sent whole."""

    requests: int
    fetched: Counter[str]
    sent: Counter[str]

    def moved(self, sizes: dict[str, int]) -> int:
        """Bytes of these blobs (digest -> size) that were fetched or sent."""
        return sum(self.fetched[digest] + self.sent[digest] * size for digest, size in sizes.items())


@dataclass
class AccessLog:
    """The log of a registry (CNCF distribution, access lines in Apache's combined format), read on from where it was."""

    file: Path
    _at: int = field(default=0, init=False)

    def read(self) -> Seen:
        """What is new since the last time."""
        with self.file.open("rb") as log:
            log.seek(self._at)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        return seen(whole.decode(errors="replace").splitlines())


def seen(lines: Iterable[str]) -> Seen:
    """What the lines of a log tell. An upload counts where it ends: a mount, which moves nothing, ends at its POST."""
    requests, fetched, sent = 0, Counter[str](), Counter[str]()
    for line in lines:
        if not (found := _LINE.search(line)):
            continue
        requests += 1
        method, path, status, size = found[1], unquote(found[2]), int(found[3]), int(found[4])
        if method == "GET" and (blob := _BLOB.search(path)):
            fetched[blob[1]] += size
        elif method == "PUT" and status == 201 and (blob := _SENT.search(path)):
            sent[blob[1]] += 1
    return Seen(requests, fetched, sent)
