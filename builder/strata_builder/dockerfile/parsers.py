"""One parser an instruction, and the table that finds it by keyword.

Each takes a Statement (keyword, flags and rest already split) and gives the typed instruction, or raises Fault.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strata_builder.dockerfile import durations, flags, mounts, text, words
from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile.faults import Fault, did_you_mean
from strata_builder.dockerfile.flags import Kind

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_NETWORKS = ("default", "none", "host")
_SECURITIES = ("sandbox", "insecure")
_NOT_IN_ONBUILD = ("FROM", "MAINTAINER", "ONBUILD")


@dataclass(frozen=True, slots=True)
class Statement:
    """A logical line taken apart. `heredocs` are empty until their bodies have been read."""

    span: typed.Span
    text: str
    keyword: str
    flag_words: tuple[str, ...]
    rest: str
    escape: str
    heredocs: tuple[typed.Heredoc, ...] = ()

    @property
    def head(self) -> tuple[typed.Span, str]:
        return self.span, self.text

    def flags(self, known: Mapping[str, Kind] | None = None) -> flags.Flags:
        return flags.parse(self.keyword, self.flag_words, known or {})


def split(line: str, span: typed.Span, escape: str) -> Statement:
    """The statement of a logical line; raises Fault if its keyword is no instruction."""
    written, flag_words, rest = words.split_command(line)
    keyword = written.upper()
    if keyword not in PARSERS:
        raise Fault(f"unknown instruction {written}", about=written, hint=did_you_mean(written, PARSERS))
    return Statement(span, line.strip(text.SPACE), keyword, flag_words, rest, escape)


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
    return dataclasses.replace(statement, heredocs=heredocs, span=span)


def parse(statement: Statement) -> typed.Instruction:
    """The typed instruction."""
    instruction: typed.Instruction = PARSERS[statement.keyword](statement)
    return instruction


def _arg(statement: Statement) -> typed.Arg:
    statement.flags()
    found = words.quoted_words(statement.rest, statement.escape)
    if not found:
        raise _needs_argument(statement, "ARG name or ARG name=default")
    return typed.Arg(*statement.head, tuple(_arg_pair(word) for word in found))


def _arg_pair(word: str) -> tuple[str, str | None]:
    name, equals, default = word.partition("=")
    if not name:
        raise Fault("ARG has a default without a name", about=word, hint=f"write ARG name{word}")
    return name, default if equals else None


def _env(statement: Statement) -> typed.Env:
    statement.flags()
    return typed.Env(*statement.head, words.pairs(statement.rest, "ENV", statement.escape))


def _label(statement: Statement) -> typed.Label:
    statement.flags()
    return typed.Label(*statement.head, words.pairs(statement.rest, "LABEL", statement.escape))


def _command(rest: str) -> tuple[bool, str, tuple[str, ...]]:
    argv = words.json_strings(rest)
    return (True, rest, ()) if argv is None else (False, "", argv)


def _run(statement: Statement) -> typed.Run:
    given = statement.flags({"mount": Kind.MANY, "network": Kind.TEXT, "security": Kind.TEXT})
    shell, command, argv = _command(statement.rest)
    if not command and not argv:
        raise _needs_argument(statement, "RUN command")
    return typed.Run(
        *statement.head,
        shell,
        command,
        argv,
        heredocs=statement.heredocs,
        mounts=tuple(mounts.parse(raw) for raw in given.many("mount")),
        network=_choice("network", given.text("network"), _NETWORKS),
        security=_choice("security", given.text("security"), _SECURITIES),
    )


def _choice(flag: str, value: str, known: Sequence[str]) -> str:
    if value and value not in known:
        raise Fault(f"--{flag} cannot be {value!r}", about=f"--{flag}={value}", hint=did_you_mean(value, known))
    return value


def _cmd(statement: Statement) -> typed.Cmd:
    statement.flags()
    shell, command, argv = _command(statement.rest)
    return typed.Cmd(*statement.head, shell, command, argv)


def _entrypoint(statement: Statement) -> typed.Entrypoint:
    statement.flags()
    shell, command, argv = _command(statement.rest)
    return typed.Entrypoint(*statement.head, shell, command, argv)


def _shell(statement: Statement) -> typed.Shell:
    statement.flags()
    argv = words.json_strings(statement.rest)
    if not argv:
        raise Fault("SHELL needs a JSON array", about=statement.rest, hint='write SHELL ["/bin/bash", "-c"]')
    return typed.Shell(*statement.head, argv)


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


def _copy(statement: Statement) -> typed.Copy:
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


def _add(statement: Statement) -> typed.Add:
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


def _workdir(statement: Statement) -> typed.Workdir:
    statement.flags()
    return typed.Workdir(*statement.head, _one_argument(statement, "WORKDIR /path"))


def _user(statement: Statement) -> typed.User:
    statement.flags()
    return typed.User(*statement.head, _one_argument(statement, "USER name or USER uid:gid"))


def _stopsignal(statement: Statement) -> typed.StopSignal:
    statement.flags()
    return typed.StopSignal(*statement.head, _one_argument(statement, "STOPSIGNAL SIGTERM"))


def _maintainer(statement: Statement) -> typed.Maintainer:
    statement.flags()
    return typed.Maintainer(*statement.head, _one_argument(statement, "MAINTAINER name"))


def _volume(statement: Statement) -> typed.Volume:
    statement.flags()
    found = words.json_strings(statement.rest)
    if found is None:
        found = tuple(words.blank_separated(statement.rest))
    if not found:
        raise _needs_argument(statement, "VOLUME /path")
    paths = tuple(path.strip(text.SPACE) for path in found)
    if "" in paths:
        raise Fault("VOLUME has an empty path", about=statement.rest, hint="write VOLUME /path")
    return typed.Volume(*statement.head, paths)


def _expose(statement: Statement) -> typed.Expose:
    statement.flags()
    if not statement.rest:
        raise _needs_argument(statement, "EXPOSE 8080 or EXPOSE 53/udp")
    return typed.Expose(*statement.head, tuple(words.blank_separated(statement.rest)))


_TIMES = ("interval", "timeout", "start-period", "start-interval")


def _healthcheck(statement: Statement) -> typed.Healthcheck:
    given = statement.flags({**dict.fromkeys(_TIMES, Kind.TEXT), "retries": Kind.TEXT})
    kind, rest = words.first_word(statement.rest)
    match kind.upper():
        case "NONE" if rest:
            raise Fault("HEALTHCHECK NONE takes no arguments", about=rest)
        case "NONE":
            return typed.Healthcheck(*statement.head, none=True, cmd=None)
        case "CMD":
            return _health_command(statement, given, rest)
        case _:
            raise Fault("HEALTHCHECK takes CMD or NONE", about=statement.rest, hint="write HEALTHCHECK CMD command")


def _health_command(statement: Statement, given: flags.Flags, rest: str) -> typed.Healthcheck:
    shell, command, argv = _command(rest)
    if not command and not argv:
        raise Fault("HEALTHCHECK CMD needs a command", hint="write HEALTHCHECK CMD command")
    interval, timeout, start_period, start_interval = (_time(name, given.text(name)) for name in _TIMES)
    return typed.Healthcheck(
        *statement.head,
        none=False,
        cmd=typed.Cmd(*statement.head, shell, command, argv),
        interval=interval,
        timeout=timeout,
        start_period=start_period,
        start_interval=start_interval,
        retries=_retries(given.text("retries")),
    )


def _time(flag: str, value: str) -> int:
    return durations.parse(flag, value) if value else 0


def _retries(value: str) -> int:
    if value and (value.strip("0123456789") or len(value) > 9):
        raise Fault(f"--retries is a number, not {value!r}", about=f"--retries={value}")
    return int(value or 0)


def _onbuild(statement: Statement) -> typed.OnBuild:
    statement.flags()
    if not statement.rest:
        raise _needs_argument(statement, "ONBUILD RUN command")
    keyword = words.first_word(statement.rest)[0].upper()
    if keyword in _NOT_IN_ONBUILD:
        raise Fault(f"{keyword} cannot be a trigger of ONBUILD", about=statement.rest)
    inner = split(statement.rest, statement.span, statement.escape)
    trigger = "\n".join([statement.rest, *(heredoc.body + heredoc.name for heredoc in statement.heredocs)])
    return typed.OnBuild(*statement.head, trigger, parse(dataclasses.replace(inner, heredocs=statement.heredocs)))


def _from(statement: Statement) -> typed.From:
    given = statement.flags({"platform": Kind.TEXT})
    found = words.blank_separated(statement.rest)
    if len(found) not in (1, 3) or (len(found) == 3 and found[1].lower() != "as"):
        raise Fault("FROM takes an image, or an image AS a name", about=statement.rest, hint="write FROM IMAGE AS NAME")
    name = _stage_name(found[2]) if len(found) == 3 else None
    return typed.From(*statement.head, found[0], given.text("platform"), name)


def _stage_name(written: str) -> str:
    name = written.lower()
    if not _STAGE_NAME.fullmatch(name):
        raise Fault(
            f"invalid stage name {written!r}",
            about=written,
            hint="start with a letter, go on with letters, digits, '-', '_' and '.'",
        )
    if name == "scratch":
        raise Fault("a stage cannot be called scratch: that is the empty image", about=written)
    return name


def _one_argument(statement: Statement, usage: str) -> str:
    if not statement.rest:
        raise _needs_argument(statement, usage)
    return statement.rest


def _needs_argument(statement: Statement, usage: str) -> Fault:
    return Fault(f"{statement.keyword} needs an argument", hint=f"write {usage}")


PARSERS: Mapping[str, Callable[[Statement], Any]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
