"""A fault found in the text before its place is known, and how it becomes a DockerfileError with file, line and caret.

The parsers work on words and do not carry offsets: a fault names the text that it is about, and the place is found by
looking that text up in the lines of the instruction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from strata_builder import errors
from strata_builder.dockerfile import text

_EXCERPT_LINES = 4
_EXCERPT_WIDTH = 200


class Fault(Exception):
    """What is wrong, `about` which piece of the source, and what to write instead."""

    def __init__(self, message: str, *, about: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = text.printable(message)
        self.about = about
        self.hint = text.printable(hint)


def placed(fault: Fault, file: str, lines: Sequence[str], start: int, end: int) -> errors.DockerfileError:
    """The error for a fault in lines `start`..`end` (1-based, inclusive); `lines` is the whole file."""
    place = place_in(file, lines, start, end, fault.about)
    return errors.DockerfileError(fault.message, place=place, hint=fault.hint)


def place_in(file: str, lines: Sequence[str], start: int, end: int, about: str) -> errors.Place:
    """The place of `about` in those lines, with a short excerpt; of their first word if it is not found."""
    line, column = _find(about, lines, start, end)
    shown = lines[line - 1 : min(end, line + _EXCERPT_LINES - 1)]
    excerpt = "\n".join(text.printable(each[:_EXCERPT_WIDTH].rstrip("\r")) for each in shown)
    return errors.Place(file, line, end, excerpt, column if column <= _EXCERPT_WIDTH else 0)


def _find(about: str, lines: Sequence[str], start: int, end: int) -> tuple[int, int]:
    """Line and column of the first place where `about` stands as a word of its own, or else anywhere."""
    if about:
        pattern = re.escape(about)
        for searched in (rf"(?<!\w){pattern}(?!\w)", pattern):
            for number in range(start, end + 1):
                if match := re.search(searched, lines[number - 1]):
                    return number, match.start() + 1
    first = lines[start - 1] if start <= len(lines) else ""
    return start, len(first) - len(first.lstrip(text.SPACE)) + 1 if first else 0


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that a misspelt one most likely means; empty if none is near."""
    folded = {name.lower(): name for name in known}
    # A bounded word: the comparison is quadratic.
    import difflib

    close = difflib.get_close_matches(word[:64].lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def did_you_mean(word: str, known: Iterable[str], *, before: str = "", otherwise: str = "") -> str:
    """A hint that names the nearest known word, or else what is known."""
    names = list(known)
    near = nearest(word, names)
    return (
        f"did you mean {before}{near}?" if near else otherwise or f"one of {', '.join(before + name for name in names)}"
    )
