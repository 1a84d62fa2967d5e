"""RUN --mount: the options of each type, checked. Follows instructions/commands_runmount.go of BuildKit."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from strata_builder.dockerfile.faults import Fault, did_you_mean
from strata_builder.dockerfile.instructions import Mount
from strata_builder.frozen import replace

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")

_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_BOOLEANS = ("readonly", "readwrite", "required")
# The types that an option may stand with; None for all, also where it means nothing, as elsewhere.
_OPTIONS: Mapping[str, frozenset[str] | None] = {
    "type": None,
    "from": frozenset({"bind", "cache", "tmpfs", "ssh"}),
    "source": None,
    "target": None,
    "readonly": None,
    "readwrite": None,
    "id": None,
    "sharing": frozenset({"cache"}),
    "required": frozenset({"secret", "ssh"}),
    "mode": frozenset({"cache", "secret", "ssh"}),
    "uid": frozenset({"cache", "secret", "ssh"}),
    "gid": frozenset({"cache", "secret", "ssh"}),
    "size": frozenset({"tmpfs"}),
    "env": frozenset({"secret"}),
}
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
# Comma-separated values (RFC 4180) in one line.
_FIELD = re.compile(r'(?:(?<=,)|^)("(?:[^"]|"")*"|[^",]*)', re.DOTALL)
_LIST = re.compile(r'("([^"]|"")*"|[^",]*)(,("([^"]|"")*"|[^",]*))*', re.DOTALL)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)


def parse(raw: str, expand: Callable[[str], str] | None = None) -> Mount:
    """The mount that `raw` describes; without `expand` an option whose value holds a variable is left for later.

    Raises Fault for an unknown option or type, a value that is none, and options that do not go together.
    """
    mount = Mount(raw)
    readonly: bool | None = None
    deferred = False
    for name, value in _options(raw):
        if expand is not None and name != "from":
            value = expand(value)
        elif "$" in value:
            _refuse_variable(name, raw)
            deferred = True
            continue
        if name in ("readonly", "readwrite"):
            readonly = _boolean(name, value, raw) == (name == "readonly")
        else:
            mount = replace(mount, **_field(name, value, raw))
    if readonly is None:
        readonly = mount.type not in ("cache", "tmpfs")
    mount = replace(mount, readonly=readonly)
    if not deferred:
        _check(mount)
    return mount


def _options(raw: str) -> list[tuple[str, str]]:
    if not raw:
        raise Fault("--mount is empty", about="--mount", hint="write --mount=type=cache,target=/path, for example")
    if not _LIST.fullmatch(raw):
        raise Fault(
            "--mount is not a list of name=value: a quote is open, or not around a whole option",
            about=raw,
            hint='write "target=/a,b" in quotes as a whole, and a quote in it twice',
        )
    return [_option(_unquoted(field), raw) for field in _FIELD.findall(raw)]


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if field.startswith('"') else field


def _option(field: str, raw: str) -> tuple[str, str]:
    written, equals, value = field.partition("=")
    name = _ALIASES.get(written.lower(), written.lower())
    if name not in _OPTIONS:
        hint = did_you_mean(written, [*_OPTIONS, *_ALIASES])
        raise Fault(f"--mount has no option {written!r}", about=written or raw, hint=hint)
    if not equals and name not in _BOOLEANS:
        raise Fault(f"--mount option {written!r} needs a value", about=written, hint=f"write {written}=VALUE")
    return name, value if equals else "true"


def _refuse_variable(name: str, raw: str) -> None:
    if name == "from":
        raise Fault(
            "--mount from= takes no variable",
            about=raw,
            hint="give the image a name with FROM ${IMAGE} AS name, and write from=name",
        )


def _field(name: str, value: str, raw: str) -> dict[str, Any]:
    match name:
        case "type":
            return {"type": _one_of(value, TYPES, "mount type", raw)}
        case "sharing":
            return {"sharing": _one_of(value, SHARING, "sharing", raw)}
        case "from":
            return {"from_": value}
        case "required":
            return {"required": _boolean(name, value, raw)}
        case "mode":
            return {"mode": _number(name, value, 8, raw)}
        case "uid" | "gid":
            return {name: _number(name, value, 10, raw)}
        case "size":
            return {"size": _size(value, raw)}
        case _:
            return {name: value}


def _one_of(value: str, known: tuple[str, ...], what: str, raw: str) -> str:
    if value.lower() not in known:
        raise Fault(f"there is no {what} {value!r}", about=value or raw, hint=did_you_mean(value, known))
    return value.lower()


def _boolean(name: str, value: str, raw: str) -> bool:
    if value not in _TRUE + _FALSE:
        raise Fault(f"--mount {name} is true or false, not {value!r}", about=value or raw)
    return value in _TRUE


def _number(name: str, value: str, base: int, raw: str) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    if not value or value.strip(digits) or len(value) > 11 or int(value, base) > 0xFFFF_FFFF:
        what = "an octal number such as 0755" if base == 8 else "a number"
        raise Fault(f"--mount {name} is {what}, not {value!r}", about=value or raw)
    return int(value, base)


def _size(value: str, raw: str) -> int:
    match = _SIZE.fullmatch(value) if len(value) <= 20 else None
    if match is None:
        raise Fault(f"--mount size is a number of bytes such as 64m, not {value!r}", about=value or raw)
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def _check(mount: Mount) -> None:
    given = {name for name, _ in _options(mount.raw)}
    for name in sorted(given):
        types = _OPTIONS[name]
        if types is not None and mount.type not in types:
            raise Fault(
                f"--mount option {name!r} does not go with type={mount.type}",
                about=mount.raw,
                hint=f"it belongs to type={' or '.join(sorted(types))}",
            )
    if mount.type == "secret":
        _check_secret(mount)


def _check_secret(mount: Mount) -> None:
    if not (mount.source or mount.target or mount.id):
        raise Fault("a secret mount needs id=", about=mount.raw, hint="write --mount=type=secret,id=NAME")
    if mount.source and mount.id:
        raise Fault("a secret mount takes id= or source=, not both", about=mount.raw)


def about(fault: Fault, text: str) -> Fault:
    """The fault about something that stands in `text`, the instruction: quotes and variables change what an option says."""
    return Fault(fault.message, about=fault.about if fault.about in text else "--mount", hint=fault.hint)


def place(mount: Mount, workdir: str) -> Mount:
    """The mount with its target made absolute; without one it is `workdir` itself. Raises Fault for /."""
    if mount.type in ("secret", "ssh"):
        return mount
    target = posixpath.normpath(posixpath.join("/", workdir, mount.target))
    if not target.strip("/"):
        raise Fault(
            "--mount needs a target= other than /", about=mount.raw, hint="write target=/path of the mount in the step"
        )
    return replace(mount, target=target)
