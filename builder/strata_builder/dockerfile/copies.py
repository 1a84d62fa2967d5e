"""COPY and ADD."""

from __future__ import annotations

from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile import words
from strata_builder.dockerfile.faults import Fault
from strata_builder.dockerfile.flags import Kind
from strata_builder.dockerfile.statements import Statement

_COPY_FLAGS = {
    "from": Kind.TEXT,
    "chown": Kind.TEXT,
    "chmod": Kind.TEXT,
    "link": Kind.BOOL,
    "parents": Kind.BOOL,
    "exclude": Kind.MANY,
}
_ADD_FLAGS = {
    "chown": Kind.TEXT,
    "chmod": Kind.TEXT,
    "link": Kind.BOOL,
    "exclude": Kind.MANY,
    "checksum": Kind.TEXT,
    "keep-git-dir": Kind.BOOL,
    "unpack": Kind.BOOL,
}


def copy(statement: Statement) -> typed.Copy:
    given = statement.flags(_COPY_FLAGS)
    sources, dest, heredocs = _sources_and_dest(statement)
    return typed.Copy(
        *statement.head,
        sources,
        dest,
        heredocs,
        from_=_copy_from(given.values.get("from")),
        chown=given.text("chown"),
        chmod=given.text("chmod"),
        link=bool(given.boolean("link")),
        parents=bool(given.boolean("parents")),
        exclude=given.many("exclude"),
    )


def _copy_from(given: tuple[str, ...] | None) -> str | None:
    if given is None:
        return None
    if not given[0]:
        raise Fault("--from is empty", about="--from", hint="name a stage, a number or an image")
    if "$" in given[0]:
        raise Fault(
            "COPY --from takes no variable",
            about=given[0],
            hint="give the image a name with FROM ${IMAGE} AS name, and write --from=name",
        )
    return given[0]


def add(statement: Statement) -> typed.Add:
    given = statement.flags(_ADD_FLAGS)
    sources, dest, heredocs = _sources_and_dest(statement)
    return typed.Add(
        *statement.head,
        sources,
        dest,
        heredocs,
        chown=given.text("chown"),
        chmod=given.text("chmod"),
        link=bool(given.boolean("link")),
        exclude=given.many("exclude"),
        checksum=given.text("checksum"),
        keep_git_dir=given.boolean("keep-git-dir"),
        unpack=given.boolean("unpack"),
    )


def _sources_and_dest(statement: Statement) -> tuple[tuple[str, ...], str, tuple[typed.Heredoc, ...]]:
    found = words.json_strings(statement.rest)
    if found is None:
        found = tuple(words.blank_separated(statement.rest))
    if len(found) < 2:
        raise Fault(
            f"{statement.keyword} needs a source and a destination",
            hint=f"write {statement.keyword} SOURCE... DESTINATION",
        )
    *sources, dest = found
    if words.heredoc_opener(dest):
        raise Fault(f"{statement.keyword} cannot write to a here-document", about=dest, hint="end with the destination")
    paths = tuple(source for source in sources if not words.heredoc_opener(source))
    inline = tuple(_inline(statement, source) for source in sources if source not in paths)
    if statement.heredocs and not inline:
        name = statement.heredocs[0].name
        raise Fault("a space after <<", about="<<", hint=f"{statement.keyword} wants <<{name} in one word")
    return paths, dest, inline


def _inline(statement: Statement, source: str) -> typed.Heredoc:
    """The here-document that a source such as <<EOF names; of several with one name the last, as elsewhere."""
    opener = words.heredoc_opener(source)
    for heredoc in reversed(statement.heredocs):
        if opener and heredoc.name == opener[0]:
            return heredoc
    raise Fault(f"{source} opens no here-document here", about=source, hint="write it without quotes and without [ ]")
