"""The patterns of ${v#p}, ${v%p} and ${v/p/r}: * any text, ? one character, backslash escapes; no classes.

Matching keeps the set of reachable positions as the bits of one integer, so no pattern is slow: the work is the length
of the pattern times the length of the text, a machine word at a time. As elsewhere, * and ? do not match a newline.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from strata_builder.dockerfile.faults import Fault
from strata_builder.frozen import frozen


@frozen
class Glob:
    """A pattern as steps: a literal character each, or "*" and "?" in `wild` at that index."""

    steps: tuple[str, ...]
    wild: tuple[bool, ...]

    @classmethod
    def parse(cls, pattern: str) -> Glob:
        """Raises Fault for a backslash before anything but * ? \\ } and /."""
        steps: list[str] = []
        wild: list[bool] = []
        chars = iter(pattern)
        for char in chars:
            escaped = next(chars, "") if char == "\\" else ""
            if char == "\\" and (not escaped or escaped not in "*?\\}/"):
                raise Fault(f"invalid escape \\{escaped} in the pattern {pattern}", about=pattern)
            steps.append(escaped or char)
            wild.append(not escaped and char in "*?")
        return cls(tuple(steps), tuple(wild))

    def regular(self) -> str:
        """As a regular expression, of a pattern without a star."""
        steps = zip(self.steps, self.wild, strict=True)
        return "".join("[^\n]" if wild else re.escape(step) for step, wild in steps)

    def reversed(self) -> Glob:
        return Glob(self.steps[::-1], self.wild[::-1])

    def on(self, subject: str) -> Matcher:
        return Matcher(self, subject)


class Matcher:
    """One pattern over one text; the masks of the characters are made once for any number of matches."""

    def __init__(self, glob: Glob, subject: str) -> None:
        self._glob = glob
        self._size = len(subject)
        literals = {step for step, wild in zip(glob.steps, glob.wild, strict=True) if not wild}
        self._masks = {char: _mask(char.__eq__, subject) for char in literals}
        self._any = _mask("\n".__ne__, subject)
        self._all = (1 << self._size + 1) - 1

    def ends(self, starts: int) -> int:
        """The positions (as bits) where a match from any of the start positions can end."""
        for step, wild in zip(self._glob.steps, self._glob.wild, strict=True):
            if not wild:
                starts = (starts & self._masks[step]) << 1
            elif step == "?":
                starts = (starts & self._any) << 1
            else:
                # The carry of the addition runs through each stretch that holds no newline.
                starts |= ((starts & self._any) + self._any) ^ self._any
        return starts & self._all

    def everywhere(self) -> int:
        return self._all


def _mask(test: Callable[[str], object], subject: str) -> int:
    bits = "".join("1" if test(char) is True else "0" for char in reversed(subject))
    return int(bits or "0", 2)


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def trim_prefix(pattern: str, value: str, *, longest: bool) -> str:
    """`value` without the shortest or longest prefix that matches."""
    return _trimmed(Glob.parse(pattern), value, longest)


def trim_suffix(pattern: str, value: str, *, longest: bool) -> str:
    """`value` without the shortest or longest suffix that matches."""
    return _trimmed(Glob.parse(pattern).reversed(), value[::-1], longest)[::-1]


def _trimmed(glob: Glob, value: str, longest: bool) -> str:
    ends = glob.on(value).ends(1)
    if not ends:
        return value
    return value[ends.bit_length() - 1 if longest else _lowest(ends) :]


def replace(pattern: str, value: str, replacement: str, *, everywhere: bool) -> Iterator[str]:
    """The pieces of `value` with the first match, or each, replaced; matches are as long as they can be."""
    position = 0
    for start, end in _matches(Glob.parse(pattern), value):
        yield value[position:start]
        yield replacement
        position = end
        if not everywhere:
            break
    yield value[position:]


def _matches(glob: Glob, value: str) -> Iterable[tuple[int, int]]:
    """Matches from left to right that do not overlap; an empty one does not follow another at once.

    Only a star needs the masks, and where no newline is asked for, a match lies in one line: then a star leaves little to
    match in what follows, and the work does not grow with the matches times the text.
    """
    stars = [wild and step == "*" for step, wild in zip(glob.steps, glob.wild, strict=True)]
    if glob.steps and not any(stars):
        return (found.span() for found in re.finditer(glob.regular(), value))
    if "\n" in glob.steps:
        return _spans(glob, value, 0)
    lines = value.split("\n")
    starts = itertools.accumulate((len(line) + 1 for line in lines[:-1]), initial=0)
    return itertools.chain.from_iterable(_spans(glob, line, start) for line, start in zip(lines, starts, strict=True))


def _spans(glob: Glob, value: str, offset: int) -> Iterator[tuple[int, int]]:
    forward, backward = glob.on(value), glob.reversed().on(value[::-1])
    reverse = backward.ends(backward.everywhere())
    # Bit n of `begins`: some match begins at n.
    begins = int(f"{reverse:b}".zfill(len(value) + 1)[::-1], 2)
    last = -1
    while begins:
        start = _lowest(begins)
        end = forward.ends(1 << start).bit_length() - 1
        if end > start or start != last:
            yield offset + start, offset + end
            last = end
        begins &= -1 << max(end, start + 1)
