"""ARG, ENV, LABEL and the other instructions that only set values."""

from __future__ import annotations

from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile import text, words
from strata_builder.dockerfile.faults import Fault
from strata_builder.dockerfile.statements import Statement


def arg(statement: Statement) -> typed.Arg:
    statement.flags()
    found = words.quoted_words(statement.rest, statement.escape)
    if not found:
        raise statement.needs_argument("ARG name or ARG name=default")
    return typed.Arg(*statement.head, tuple(_arg_pair(word) for word in found))


def _arg_pair(word: str) -> tuple[str, str | None]:
    name, equals, default = word.partition("=")
    if not name:
        raise Fault("ARG has a default without a name", about=word, hint=f"write ARG name{word}")
    return name, default if equals else None


def env(statement: Statement) -> typed.Env:
    statement.flags()
    return typed.Env(*statement.head, words.pairs(statement.rest, "ENV", statement.escape))


def label(statement: Statement) -> typed.Label:
    statement.flags()
    return typed.Label(*statement.head, words.pairs(statement.rest, "LABEL", statement.escape))


def workdir(statement: Statement) -> typed.Workdir:
    statement.flags()
    return typed.Workdir(*statement.head, statement.one_argument("WORKDIR /path"))


def user(statement: Statement) -> typed.User:
    statement.flags()
    return typed.User(*statement.head, statement.one_argument("USER name or USER uid:gid"))


def stopsignal(statement: Statement) -> typed.StopSignal:
    statement.flags()
    return typed.StopSignal(*statement.head, statement.one_argument("STOPSIGNAL SIGTERM"))


def maintainer(statement: Statement) -> typed.Maintainer:
    statement.flags()
    return typed.Maintainer(*statement.head, statement.one_argument("MAINTAINER name"))


def volume(statement: Statement) -> typed.Volume:
    statement.flags()
    found = words.json_strings(statement.rest)
    if found is None:
        found = tuple(words.blank_separated(statement.rest))
    if not found:
        raise statement.needs_argument("VOLUME /path")
    paths = tuple(path.strip(text.SPACE) for path in found)
    if "" in paths:
        raise Fault("VOLUME has an empty path", about=statement.rest, hint="write VOLUME /path")
    return typed.Volume(*statement.head, paths)


def expose(statement: Statement) -> typed.Expose:
    statement.flags()
    if not statement.rest:
        raise statement.needs_argument("EXPOSE 8080 or EXPOSE 53/udp")
    return typed.Expose(*statement.head, tuple(words.blank_separated(statement.rest)))
