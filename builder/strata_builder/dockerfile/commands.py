"""RUN, CMD, ENTRYPOINT, SHELL and HEALTHCHECK: instructions that hold a command."""

from __future__ import annotations

from collections.abc import Sequence

from strata_builder.dockerfile import durations, flags, mounts, words
from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile.faults import Fault, did_you_mean
from strata_builder.dockerfile.flags import Kind
from strata_builder.dockerfile.statements import Statement

_NETWORKS = ("default", "none", "host")
_SECURITIES = ("sandbox", "insecure")
_TIMES = ("interval", "timeout", "start-period", "start-interval")


def run(statement: Statement) -> typed.Run:
    given = statement.flags({"mount": Kind.MANY, "network": Kind.TEXT, "security": Kind.TEXT})
    shell, command, argv = _command(statement.rest)
    if not shell and not argv:
        raise statement.needs_argument("RUN command")
    try:
        parsed = tuple(mounts.parse(raw) for raw in given.many("mount"))
    except Fault as fault:
        raise mounts.about(fault, statement.text) from None
    return typed.Run(
        *statement.head,
        shell,
        command,
        argv,
        heredocs=statement.heredocs,
        mounts=parsed,
        network=_choice("network", given, _NETWORKS),
        security=_choice("security", given, _SECURITIES),
    )


def _choice(flag: str, given: flags.Flags, known: Sequence[str]) -> str:
    value = given.text(flag)
    if flag in given.values and value not in known:
        raise Fault(f"--{flag} cannot be {value!r}", about=f"--{flag}={value}", hint=did_you_mean(value, known))
    return value


def cmd(statement: Statement) -> typed.Cmd:
    statement.flags()
    shell, command, argv = _command(statement.rest)
    return typed.Cmd(*statement.head, shell, command, argv)


def entrypoint(statement: Statement) -> typed.Entrypoint:
    statement.flags()
    shell, command, argv = _command(statement.rest)
    return typed.Entrypoint(*statement.head, shell, command, argv)


def shell(statement: Statement) -> typed.Shell:
    statement.flags()
    argv = words.json_strings(statement.rest)
    if not argv:
        raise Fault("SHELL needs a JSON array", about=statement.rest, hint='write SHELL ["/bin/bash", "-c"]')
    return typed.Shell(*statement.head, argv)


def healthcheck(statement: Statement) -> typed.Healthcheck:
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


def _command(rest: str) -> tuple[bool, str, tuple[str, ...]]:
    argv = words.json_strings(rest)
    return (True, rest, ()) if argv is None else (False, "", argv)
