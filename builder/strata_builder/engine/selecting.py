"""Which paths of a tree the sources of a COPY or ADD name. Pure but for the tree."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from typing import Final

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context.tree import Tree
from strata_builder.entries import Entry, Kind
from strata_builder.frozen import frozen
from strata_builder.layers import following, paths

_At = tuple[bytes, bytes]  # a path as it is written, and where it lies once links are followed
_ROOT: Final[_At] = (b"", b"")
_ESCAPES: Final = "write [[] for the character [, and [*] or [?] for those two; see Go's filepath.Match"


@frozen
class Source:
    """One match: `name` is how it is called at the destination, `path` where it lies once links are followed.

    `kept` are the directories that --parents keeps, outermost first, each by its path relative to the tree (or to the `/./`
    in the pattern); of a directory it is the last. `dated` says that the files keep their times, where those of a context
    get their step's.
    """

    tree: Tree
    name: bytes
    path: bytes
    entry: Entry
    kept: tuple[tuple[bytes, Entry], ...] = ()
    dated: bool = False

    @property
    def above(self) -> bytes:
        """What --exclude sees before the names in a directory, or before the name of a file: the directories kept."""
        return self.kept[-1][0] if self.kept else b""


def select(tree: Tree, pattern: str, *, where: str, parents: bool = False) -> list[Source]:
    """The matches of one source, sorted. A wildcard may match nothing; a plain name must be there.

    `where` says in an error what the tree is. Wildcards are Go's filepath.Match: `*` stops at a slash and takes dots;
    with `parents` there is also `**`, any number of directories. Links are followed up to the first wildcard and, but for
    `parents`, where they are matched themselves; one to nowhere is then an error.
    """
    head, tail = _pivot(pattern) if parents else ("", pattern)
    try:
        found = [(base, at) for base in _named(tree, _ROOT, head) for at in _named(tree, base, tail, deep=parents)]
    except df.BadPattern as e:
        raise errors.DockerfileError(f"the source {pattern!r}: {e}", hint=_ESCAPES) from None
    if df.has_wildcard(head) and not df.has_wildcard(tail):
        found = [(base, at) for base, at in found if tree.lookup(at[1]) is not None]
    return [_source(tree, base if parents else None, at, pattern, where) for base, at in found]


def one(tree: Tree, path: str, *, where: str) -> Source:
    """What `path` names, of which no character is a wildcard: the source of a mount. Raises SourceNotFound."""
    return _source(tree, None, _literal(tree, _ROOT, _cleaned(path)), path, where)


def contents(source: Source, excluded: df.Patterns) -> Iterator[tuple[bytes, bytes, Entry]]:
    """What lies below a directory: (relative path, path in the tree, entry), parents first, the directory itself not.

    Of a file with several names there all but the first are hard links, to the first's relative path.
    """
    first: dict[object, bytes] = {}
    for below, path, entry, identity in _below(source, excluded):
        if identity is not None and (known := first.setdefault(identity, below)) != below:
            yield below, path, entry._replace(kind=Kind.HARDLINK, link=known, digest="")
        else:
            yield below, path, entry


def excludes(patterns: Sequence[str], place: errors.Place | None = None) -> df.Patterns:
    """--exclude: the patterns of .dockerignore, relative to the source, or with --parents to where they begin.

    Raises DockerfileError.
    """
    try:
        return df.Patterns(patterns)
    except df.BadPattern as e:
        raise errors.DockerfileError(f"--exclude: {e}", place=place) from None


def _pivot(pattern: str) -> tuple[str, str]:
    """`a/./b/c` keeps with --parents only what stands after the `/./`."""
    head, pivot, tail = pattern.partition("/./")
    return (head, tail) if pivot else ("", pattern)


def _named(tree: Tree, base: _At, pattern: str, *, deep: bool = False) -> list[_At]:
    """What `pattern` names below `base`, which it cannot leave: one path, there or not, unless it has a wildcard."""
    if df.has_wildcard(pattern):
        return _matches(tree, base, _cleaned(pattern), deep=deep)
    return [_literal(tree, base, _cleaned(pattern))]


def _cleaned(written: str) -> bytes:
    return os.fsencode(posixpath.normpath("/" + written).lstrip("/"))


def _literal(tree: Tree, base: _At, path: bytes) -> _At:
    lies = following.follow(tree.lookup, posixpath.join(base[1], path))
    return posixpath.join(base[0], path).rstrip(b"/"), lies


def _source(tree: Tree, base: _At | None, at: _At, pattern: str, where: str) -> Source:
    """`base` is given with --parents: the directories below it are kept, and a link stays one."""
    path, lies = at
    if base is not None and path:
        folder, name = posixpath.split(path)
        lies = posixpath.join(following.follow(tree.lookup, folder), name)
    entry = tree.lookup(lies)
    if entry is None:
        raise errors.SourceNotFound(
            f"{pattern!r} is not in {where}",
            hint="check the path and, for the build context, .dockerignore; paths are relative to the context's root",
        )
    kept = () if base is None else _kept(tree, base, path, entry)
    return Source(tree, posixpath.basename(path), lies, entry, kept)


def _kept(tree: Tree, base: _At, path: bytes, entry: Entry) -> tuple[tuple[bytes, Entry], ...]:
    below = path[len(base[0]) :].strip(b"/")
    parts = below.split(b"/") if below else []
    count = len(parts) if entry.kind == Kind.DIR else len(parts) - 1
    found, at = [], base[1]
    for number, part in enumerate(parts[:count], start=1):
        at = following.follow(tree.lookup, posixpath.join(at, part))
        folder = tree.lookup(at)
        if folder is not None:
            found.append((b"/".join(parts[:number]), folder))
    return tuple(found)


def _matches(tree: Tree, base: _At, pattern: bytes, *, deep: bool) -> list[_At]:
    found, links = [base], True
    *folders, last = pattern.split(b"/")
    for part in folders:
        links = links and not df.has_wildcard(os.fsdecode(part))
        if deep and part == b"**":
            found = sorted({below for at in found for below in _folders(tree, at)})
        else:
            found = [below for at in found for below in _inside(tree, at, part, links=links)]
    return [below for at in found for below in _inside(tree, at, last, links=True)]


def _folders(tree: Tree, at: _At) -> Iterator[_At]:
    """The directory `at` and every directory below it; links are not followed."""
    waiting = [at]
    while waiting:
        path, lies = waiting.pop()
        yield path, lies
        inner = [(paths.join(path, name), paths.join(lies, name)) for name in tree.children(lies)]
        waiting += [below for below in inner if _is_folder(tree, below[1])]


def _inside(tree: Tree, at: _At, part: bytes, *, links: bool) -> Iterator[_At]:
    """What matches `part` in the directory `at`; without `links`, no link."""
    path, lies = at
    if not _is_folder(tree, lies):
        return
    for name in _names(tree, lies, part):
        inner = paths.join(lies, name)
        entry = tree.lookup(inner)
        if entry is not None and entry.kind == Kind.SYMLINK:
            if not links:
                continue
            inner = following.follow(tree.lookup, inner)
        yield paths.join(path, name), inner


def _names(tree: Tree, folder: bytes, part: bytes) -> Sequence[bytes]:
    if not df.has_wildcard(os.fsdecode(part)):
        return [part] if tree.lookup(posixpath.join(folder, part)) else []
    return [name for name in tree.children(folder) if df.go_match(os.fsdecode(part), os.fsdecode(name))]


def _is_folder(tree: Tree, path: bytes) -> bool:
    entry = tree.lookup(path)
    return entry is not None and entry.kind == Kind.DIR


_Below = tuple[bytes, bytes, Entry, object]  # relative path, path in the tree, what is there, and its identity


def _below(source: Source, excluded: df.Patterns) -> Iterator[_Below]:
    """Parents before what is in them, in the tree's order; no recursion, for a tree may be as deep as its maker likes."""
    waiting = [_listed(source.tree, source.path, b"")]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        below, inner, entry, _ = found
        enters = entry.kind is Kind.DIR
        if excluded.size:
            name = os.fsdecode(paths.join(source.above, below))
            if excluded.excludes(name):
                if enters and excluded.may_contain(name):
                    waiting.append(_listed(source.tree, inner, below))
                continue
        yield found
        if enters:
            waiting.append(_listed(source.tree, inner, below))


def _listed(tree: Tree, path: bytes, relative: bytes) -> Iterator[_Below]:
    below = relative and relative + b"/"
    inside = path and path + b"/"
    for name, entry, identity in tree.entries(path):
        yield below + name, inside + name, entry, identity
