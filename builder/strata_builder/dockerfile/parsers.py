"""From a logical line to the typed instruction: the table of keywords, here-documents, and ONBUILD, which nests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from strata_builder.dockerfile import bases, commands, copies, settings, words
from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile.faults import Fault, did_you_mean
from strata_builder.dockerfile.statements import Statement
from strata_builder.frozen import replace

_ONBUILD = re.compile(r"[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)
_NOT_IN_ONBUILD = ("FROM", "MAINTAINER", "ONBUILD")


def split(line: str, span: typed.Span, escape: str) -> Statement:
    """The statement of a logical line; raises Fault if its keyword is no instruction."""
    written, flag_words, rest = words.split_command(line)
    keyword = written.upper()
    if keyword not in PARSERS:
        otherwise = (
            f"to go on with the line above, end that one with {escape}; an instruction is one of {', '.join(PARSERS)}"
        )
        hint = did_you_mean(written, PARSERS, otherwise=otherwise)
        raise Fault(f"unknown instruction {written}", about=written, hint=hint)
    return Statement(span, line, keyword, flag_words, rest, escape)


def openers(statement: Statement) -> list[tuple[str, bool, bool]]:
    """(name, expand, chomp) of each here-document that the statement opens, in order."""
    if statement.keyword == "ONBUILD":
        inner = words.split_command(statement.rest)
        keyword, rest = inner[0].upper(), inner[2]
    else:
        keyword, rest = statement.keyword, statement.rest
    if keyword not in ("RUN", "COPY", "ADD") or "<<" not in rest or words.json_strings(rest) is not None:
        return []
    found = words.shell_words(statement.text)
    return [opener for word in found if (opener := words.heredoc_opener(word))]


def with_heredocs(statement: Statement, heredocs: tuple[typed.Heredoc, ...], span: typed.Span) -> Statement:
    """The statement with the bodies of its here-documents; `span` includes them."""
    return replace(statement, heredocs=heredocs, span=span)


def parse(statement: Statement) -> typed.Instruction:
    """The typed instruction."""
    instruction: typed.Instruction = PARSERS[statement.keyword](statement)
    return instruction


def _onbuild(statement: Statement) -> typed.OnBuild:
    statement.flags()
    if not statement.rest:
        raise statement.needs_argument("ONBUILD RUN command")
    keyword = words.first_word(statement.rest)[0].upper()
    if keyword in _NOT_IN_ONBUILD:
        raise Fault(f"{keyword} cannot be a trigger of ONBUILD", about=statement.rest)
    inner = split(statement.rest, statement.span, statement.escape)
    # As it stands, spaces at its end included: the text goes into the image's config.
    written = _ONBUILD.sub("", statement.line, count=1)
    trigger = "\n".join([written, *(heredoc.body + heredoc.name for heredoc in statement.heredocs)])
    return typed.OnBuild(*statement.head, trigger, parse(replace(inner, heredocs=statement.heredocs)))


PARSERS: Mapping[str, Callable[[Statement], Any]] = {
    "ADD": copies.add,
    "ARG": settings.arg,
    "CMD": commands.cmd,
    "COPY": copies.copy,
    "ENTRYPOINT": commands.entrypoint,
    "ENV": settings.env,
    "EXPOSE": settings.expose,
    "FROM": bases.from_,
    "HEALTHCHECK": commands.healthcheck,
    "LABEL": settings.label,
    "MAINTAINER": settings.maintainer,
    "ONBUILD": _onbuild,
    "RUN": commands.run,
    "SHELL": commands.shell,
    "STOPSIGNAL": settings.stopsignal,
    "USER": settings.user,
    "VOLUME": settings.volume,
    "WORKDIR": settings.workdir,
}
