"""USER and --chown: names looked up in the image's own passwd and group, never in the builder's. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strata_builder import errors
from strata_builder.frozen import frozen
from strata_builder.rootfs.view import View

MAX_ID: Final = 2**32 - 2


@frozen
class Identity:
    """Whom a step runs as. `groups` are the supplementary ones, its own group first, as runtimes of containers have it."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@frozen
class _User:
    name: str
    uid: int
    gid: int
    home: str


def identity(shown: View, text: str) -> Identity:
    """`user[:group]` of USER. A number without an entry runs with group 0 and home /. Raises DockerfileError."""
    name, colon, group = text.partition(":")
    user = _user(shown, name or "0")
    found = user or _User("", _number(name, "user"), 0, "/")
    gid = _group(shown, group) if colon and group else found.gid
    members = () if colon and group else _memberships(shown, found.name)
    return Identity(found.uid, gid, (gid, *(g for g in members if g != gid)), found.home or "/")


def owner(shown: View, text: str) -> tuple[int, int]:
    """(uid, gid) of --chown=[user][:group]; a number alone is the group's number too. Raises DockerfileError."""
    name, colon, group = text.partition(":")
    if not name:
        uid = gid = 0
    elif _is_number(name):
        uid = gid = _number(name, "user")
    else:
        user = _user(shown, name)
        if user is None:
            raise _unknown("user", name, "/etc/passwd")
        uid, gid = user.uid, user.gid
    return uid, _group(shown, group) if colon and group else gid


def _user(shown: View, name: str) -> _User | None:
    number = str(_number(name, "user")) if _is_number(name) else None
    for fields in _lines(shown, b"etc/passwd", 4):
        if name == fields[0] or number == fields[2]:
            home = fields[5] if len(fields) > 5 else ""
            return _User(fields[0], _number(fields[2], "user"), _number(fields[3], "group"), home)
    if number is None:
        if name == "root":
            return _User("root", 0, 0, "/root")
        raise _unknown("user", name, "/etc/passwd")
    return _User("root", 0, 0, "/root") if number == "0" else None


def _group(shown: View, name: str) -> int:
    if _is_number(name):
        return _number(name, "group")
    for fields in _lines(shown, b"etc/group", 3):
        if fields[0] == name:
            return _number(fields[2], "group")
    raise _unknown("group", name, "/etc/group")


def _memberships(shown: View, name: str) -> tuple[int, ...]:
    if not name:
        return ()
    lines = _lines(shown, b"etc/group", 4)
    return tuple(sorted({_number(fields[2], "group") for fields in lines if name in fields[3].split(",")}))


def _lines(shown: View, path: bytes, least: int) -> Iterator[list[str]]:
    content = shown.text(path) or b""
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= least and _is_number(fields[2]):
            yield fields


def _is_number(text: str) -> bool:
    """Other alphabets have digits, too, and Linux does not know them."""
    return text.isascii() and text.isdigit()


def _number(text: str, what: str) -> int:
    digits = text.lstrip("0") or text[:1]
    if not _is_number(text) or len(digits) > len(str(MAX_ID)) or int(digits) > MAX_ID:
        raise errors.DockerfileError(f"{text[:40]!r} is no {what} number from 0 to {MAX_ID}")
    return int(digits)


def _unknown(what: str, name: str, file: str) -> errors.DockerfileError:
    return errors.DockerfileError(
        f"there is no {what} {name!r} in the image's {file}", hint=f"use a number, or make the {what} in an earlier RUN"
    )
