"""Submodules of a repository: which there are, where each is had from, and which credentials go there. Pure.

`.gitmodules` is written by whoever wrote the repository: of it only paths and URLs are read, and a URL may lead to
another server but never to a file, a program or an option. The paths that count are those of the commit's own tree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from strata_builder import errors
from strata_builder.context import gitref
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.context.gitref import GitUrl
from strata_builder.frozen import frozen

CONFIG: Final = ".gitmodules"
MAX_CONFIG: Final = 1 << 20  # bytes of .gitmodules
MAX_DEPTH: Final = 16  # submodules within submodules
MAX_COUNT: Final = 1000  # of one source, at every depth
_GITLINK: Final = "160000"  # the mode of a submodule in a tree
_KEY: Final = re.compile(r"submodule\.(?P<name>.+)\.(?P<field>path|url|update)", re.DOTALL)


@frozen
class Declared:
    """What .gitmodules says of one path."""

    url: str = ""
    skipped: bool = False  # update = none: git leaves its folder empty


@frozen
class Entry:
    """One record of `git ls-tree`."""

    mode: str
    name: str  # of the object
    size: int  # of a file, else 0
    path: str

    @property
    def is_submodule(self) -> bool:
        return self.mode == _GITLINK


def entries(listing: bytes) -> list[Entry]:
    """The records `mode type object[ size]<TAB>path<NUL>` of `git ls-tree -z`, with `-l` or without."""
    found = []
    for record in filter(None, listing.split(b"\0")):
        head, _, path = record.partition(b"\t")
        mode, _, name, *size = head.decode("ascii", "replace").split()
        known = int(size[0]) if size and size[0].isdigit() else 0
        found.append(Entry(mode, name, known, path.decode("utf-8", "surrogateescape")))
    return found


def declared(config: bytes) -> dict[str, Declared]:
    """By path, from `git config --null --list` of .gitmodules; of two that name one path the last counts."""
    sections: dict[str, dict[str, str]] = {}
    for item in config.decode("utf-8", "surrogateescape").split("\0"):
        key, _, value = item.partition("\n")
        if match := _KEY.fullmatch(key):
            sections.setdefault(match["name"], {})[match["field"]] = value
    return {
        fields["path"].rstrip("/"): Declared(fields.get("url", ""), fields.get("update", "") == "none")
        for fields in sections.values()
        if fields.get("path")
    }


def url_of(path: str, known: Mapping[str, Declared], parent: GitUrl) -> GitUrl | None:
    """Where the submodule at `path` is had from; None if it is to stay empty. Raises SourceNotFound, InvalidSpec."""
    found = known.get(path, Declared())
    if found.skipped:
        return None
    if not found.url:
        raise errors.SourceNotFound(
            f"{parent} has a submodule at {path!r} of which its {CONFIG} tells no URL",
            hint=f"add it to {CONFIG}, or leave submodules out (?submodules=false in the URL, submodules: false)",
        )
    try:
        return gitref.parse_url(resolve(parent, found.url))
    except errors.InvalidSpec as e:
        raise errors.InvalidSpec(
            f"the submodule at {path!r} of {parent} cannot be used: {e.message}",
            hint=f"let its URL in {CONFIG} be relative (../name.git), https or ssh",
        ) from e


def resolve(parent: GitUrl, url: str) -> str:
    """`url` as .gitmodules has it: one that begins with ./ or ../ is relative to its repository (gitmodules(5))."""
    if not url.startswith(("./", "../")):
        return url
    root, path = _split(parent)
    parts = [part for part in path.split("/") if part]
    for part in url.split("/"):
        if part == ".." and not parts:
            raise errors.InvalidSpec(f"{gitref.shown(url)!r} leads above the root of {root}")
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return root + "/".join(parts)


def credentials_for(child: GitUrl, parent: GitUrl, given: Credentials) -> Credentials:
    """Those of the parent for its own server; for another one none, save whom to trust."""
    if child.origin == parent.origin:
        return given
    return Credentials(ca=given.ca) if given.ca else ANONYMOUS


def _split(url: GitUrl) -> tuple[str, str]:
    """What a relative URL cannot change, with the separator at its end, and the path."""
    head, separator, rest = url.address.partition("://")
    if not separator:
        host, _, path = head.partition(":")
        return f"{host}:", path
    host, _, path = rest.partition("?")[0].partition("/")
    return f"{head}://{host}/", path
