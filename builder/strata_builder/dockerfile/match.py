"""Patterns of file names as steps, and Go's filepath.Match for the wildcards of COPY and ADD.

Paths are slash-separated and relative, decoded as `text.decode` does, so that a name of any bytes can be matched.
"""

from __future__ import annotations

from collections.abc import Sequence

from strata_builder.dockerfile import text
from strata_builder.frozen import frozen


class BadPattern(ValueError):
    """The pattern is not well formed: an open class, an empty range, a backslash at the end."""

    def __init__(self, pattern: str) -> None:
        super().__init__(f"invalid pattern {text.printable(pattern)!r}")
        self.pattern = pattern


@frozen
class CharClass:
    """[a-z] or [^a-z]."""

    negated: bool
    ranges: tuple[tuple[str, str], ...]

    def __contains__(self, char: str) -> bool:
        return self.negated != any(low <= char <= high for low, high in self.ranges)


# One step of a pattern: a literal character, a class, or one of the names below (none of them is one character long).
Step = str | CharClass
ANY = "any character but /"
STAR = "any number of characters but /"
EVERYTHING = "any number of characters"
FOLDERS = "nothing, or any number of characters that end with /"


def go_match(pattern: str, name: str) -> bool:
    """Whether the whole name matches, as Go's path/filepath.Match says: * and ? match no slash. Raises BadPattern."""
    chunks: list[list[Step]] = [[]]
    for step in steps_of(pattern):
        if step == STAR:
            chunks.append([])
        else:
            chunks[-1].append(step)
    first, *others = chunks
    if not _fits(first, name, 0):
        return False
    position = len(first)
    for number, chunk in enumerate(others, start=1):
        found = _after_star(chunk, name, position, last=number == len(others))
        if found < 0:
            return False
        position = found
    return position == len(name)


def has_wildcard(pattern: str) -> bool:
    """Whether a source of COPY is a pattern rather than a plain name."""
    position = 0
    while position < len(pattern):
        if pattern[position] in "*?[":
            return True
        position += 2 if pattern[position] == "\\" else 1
    return False


def _after_star(chunk: Sequence[Step], name: str, position: int, *, last: bool) -> int:
    """Where the chunk ends at its first fit after a star that begins at `position`; -1 if it fits nowhere."""
    while True:
        end = position + len(chunk)
        if _fits(chunk, name, position) and (not last or end == len(name)):
            return end
        if position >= len(name) or name[position] == "/":
            return -1
        position += 1


def _fits(chunk: Sequence[Step], name: str, position: int) -> bool:
    if position + len(chunk) > len(name):
        return False
    return all(_takes(step, name[position + n]) for n, step in enumerate(chunk))


def _takes(step: Step, char: str) -> bool:
    if isinstance(step, CharClass):
        return char in step
    return char != "/" if step == ANY else step == char


def steps_of(pattern: str, *, spanning: bool = False) -> list[Step]:
    """The steps of a pattern; two stars are one thing of their own if `spanning`, else the same as one."""
    steps: list[Step] = []
    position = 0
    while position < len(pattern):
        step, position = _step(pattern, position, spanning)
        if step not in (STAR, FOLDERS) or steps[-1:] != [step]:
            steps.append(step)
    if spanning and steps[-1:] == [FOLDERS]:
        steps[-1] = EVERYTHING
    return steps


def _step(pattern: str, position: int, spanning: bool) -> tuple[Step, int]:
    match pattern[position]:
        case "*" if spanning and pattern.startswith("*", position + 1):
            return FOLDERS, position + 2 + pattern.startswith("/", position + 2)
        case "*":
            return STAR, position + 1
        case "?":
            return ANY, position + 1
        case "[":
            return _class(pattern, position + 1)
        case _:
            return _escaped(pattern, position)


def _class(pattern: str, position: int) -> tuple[CharClass, int]:
    negated = pattern.startswith("^", position)
    position += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", position)):
        low, position = _class_char(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _class_char(pattern, position + 1)
        ranges.append((low, high))
    return CharClass(negated, tuple(ranges)), position + 1


def _class_char(pattern: str, position: int) -> tuple[str, int]:
    if position >= len(pattern) or pattern[position] in "-]":
        raise BadPattern(pattern)
    return _escaped(pattern, position)


def _escaped(pattern: str, position: int) -> tuple[str, int]:
    """The character at `position`, or the one after a backslash there, and where it ends."""
    if pattern[position] == "\\":
        position += 1
    if position >= len(pattern):
        raise BadPattern(pattern)
    return pattern[position], position + 1
