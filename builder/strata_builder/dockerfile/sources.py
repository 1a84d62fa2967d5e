"""What the sources and flags of a resolved COPY or ADD rule out, before any file is looked at."""

from __future__ import annotations

import re

from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile.faults import Fault

_REMOTE = ("http://", "https://", "git://", "ssh://")
_SCP = re.compile(r"[A-Za-z0-9_-]+@[A-Za-z0-9.-]+:")
_NUMBERS = re.compile(r"[0-9]*(:[0-9]*)?")


def is_remote(source: str) -> bool:
    """Whether a source of ADD is a URL or a git repository (also in the short form of ssh) rather than a path."""
    return source.startswith(_REMOTE) or _SCP.match(source) is not None


def check(copy: typed.Copy | typed.Add) -> None:
    """Raises Fault for flags and sources that do not go together."""
    if copy.link and copy.chown and not _NUMBERS.fullmatch(copy.chown):
        raise Fault(
            f"--chown={copy.chown} cannot be resolved with --link: a linked layer sees no passwd and group",
            about="--chown",
            hint="use numbers, uid or uid:gid, or leave out --link",
        )
    if isinstance(copy, typed.Add):
        _check_checksum(copy)
        return
    for source in filter(is_remote, copy.sources):
        raise Fault(f"COPY cannot take {source}: it is no path", about=source, hint="write ADD instead of COPY")


def _check_checksum(add: typed.Add) -> None:
    if not add.checksum:
        return
    if len(add.sources) != 1 or not is_remote(add.sources[0]):
        raise Fault(
            "--checksum is for one URL or git repository", about="--checksum", hint="write one ADD for each URL"
        )
