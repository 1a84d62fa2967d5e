"""Asking a git server for some of its references in one small request: ls-refs of protocol version 2. Pure.

Source: gitprotocol-v2(5), gitprotocol-common(5). The server sends only what begins with one of the names asked for, so
that a repository with a hundred thousand branches answers with a few lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

#: Names in one request; a server that is asked for very many sends all it has.
MOST: Final = 300
_FLUSH: Final = b"0000"
_DELIMITER: Final = b"0001"
_LENGTH: Final = re.compile(rb"[0-9a-f]{4}")
_LINE: Final = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([^ \n]+)((?: [^ \n]+)*)\n?")


class Unsuited(Exception):
    """The answer is not one of protocol version 2; the text says what it is."""


def request(names: Iterable[str]) -> bytes:
    """The body of a POST to git-upload-pack that asks for the references `names` (full names, or HEAD)."""
    prefixes = b"".join(_line(f"ref-prefix {name}\n".encode()) for name in names)
    return _line(b"command=ls-refs\n") + _DELIMITER + _line(b"peel\n") + prefixes + _FLUSH


def listing(answer: bytes) -> bytes:
    """The answer as lines of `git ls-remote`: an annotated tag has a second one that ends in ^{}. Raises Unsuited."""
    found: list[bytes] = []
    for line in _lines(answer):
        match = _LINE.fullmatch(line)
        if not match:
            raise Unsuited(f"a line that is no reference: {line[:100]!r}")
        found.append(b"%s\t%s\n" % (match[1], match[2]))
        peeled = [attribute[7:] for attribute in match[3].split() if attribute.startswith(b"peeled:")]
        found += [b"%s\t%s^{}\n" % (commit, match[2]) for commit in peeled]
    return b"".join(found)


def _line(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + 4, data)


def _lines(answer: bytes) -> Iterator[bytes]:
    """The packets before the one that ends the answer."""
    at = 0
    while True:
        head = answer[at : at + 4]
        length = int(head, 16) if _LENGTH.fullmatch(head) else -1
        if length == 0:
            return
        if length < 4 or at + length > len(answer):
            raise Unsuited("it is cut off, or not made of packets")
        yield answer[at + 4 : at + length]
        at += length
