"""chmod's two notations, as BSD's chmod reads them: `=` takes a directory's set-id bits away, too. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxXst]*|[-+=][ugo])+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


def parse(text: str) -> Callable[[int, bool], int]:
    """A function (mode, is a directory) -> mode. Octal replaces all twelve bits. Raises ValueError saying why."""
    if re.fullmatch(r"[0-9]+", text):
        if not re.fullmatch(r"0*[0-7]{1,4}", text):
            raise ValueError("not an octal mode of at most four digits")
        return lambda *_: int(text, 8)
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]
    if not all(clauses):
        raise ValueError("not a mode")
    actions = [(c[1] or "a", _ACTION.findall(c[2])) for c in clauses if c]
    return lambda mode, folder: _apply(actions, mode, folder)


def _apply(clauses: list[tuple[str, list[tuple[str, str]]]], mode: int, folder: bool) -> int:
    for who, actions in clauses:
        classes = "ugo" if "a" in who else who
        for operator, permissions in actions:
            mode = _one(mode, classes, operator, permissions, folder)
    return mode


def _one(mode: int, classes: str, operator: str, permissions: str, folder: bool) -> int:
    bits = mask = 0
    for name in classes:
        mask |= 7 << _SHIFT[name] | _special(name)
        bits |= _wanted(mode, permissions, folder) << _SHIFT[name]
        if "s" in permissions:
            bits |= _special(name)
    if "t" in permissions:
        bits |= 0o1000
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    return (mode & ~mask) | bits


def _special(name: str) -> int:
    return {"u": 0o4000, "g": 0o2000, "o": 0}[name]


def _wanted(mode: int, permissions: str, folder: bool) -> int:
    if permissions in ("u", "g", "o") and permissions:
        return mode >> _SHIFT[permissions] & 7
    bits = sum({_BITS[p] for p in permissions if p in _BITS})
    if "X" in permissions and (folder or mode & 0o111):
        bits |= 1
    return bits
