"""The ** patterns of .dockerignore and --exclude, all of a list matched at once."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from strata_builder.dockerfile import text
from strata_builder.dockerfile.match import ANY, EVERYTHING, FOLDERS, STAR, BadPattern, CharClass, Step, steps_of
from strata_builder.frozen import frozen


@frozen
class Walked:
    """What the patterns make of a directory: the states that are open below it, and the patterns that it matched."""

    states: int
    matched: int


MAX_CHARS = 1 << 19
"""Of all patterns together: every character of a path costs a look at all of them."""
_MEMORY = 32 << 20  # bytes for what is remembered of folders, and again of characters


class TooMany(BadPattern):
    """Of the patterns of one list the one at which there are more than MAX_CHARS characters."""

    def __str__(self) -> str:
        return f"the patterns up to here have more than {MAX_CHARS} characters together, which is the limit"


class _Marks:
    """The states of an automaton while patterns are added: of each kind their numbers, in order. Integers of so many bits
    would be made anew with every character."""

    def __init__(self) -> None:
        self.size = 0
        self.any: list[int] = []
        self.in_name: list[int] = []
        self.skips: list[int] = []
        self.optional: list[int] = []
        self.accepts: list[int] = []
        self.taken_back: list[int] = []
        self.starts: list[int] = []
        self.below: list[int] = []
        self.literals: dict[str, list[int]] = {}
        self.classes: list[tuple[int, CharClass]] = []

    def bits(self, places: Iterable[int]) -> int:
        """An integer with these bits."""
        data = bytearray(self.size // 8 + 1)
        for place in places:
            data[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(data, "little")

    def add(self, pattern: str) -> int:
        """The number of states with those of `pattern`. Raises BadPattern."""
        taken_back = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        if not pattern:
            raise BadPattern("!")
        first = self.size
        self.starts.append(first)
        for step in _spanning_steps(pattern):
            self._add_step(step)
        self.accepts.append(self.size)
        if taken_back:
            self.taken_back.append(self.size)
            self.below += range(first, self.size + 1)
        self.size += 1
        return self.size

    def _add_step(self, step: Step) -> None:
        at = self.size
        self.size += 1
        if isinstance(step, CharClass):
            self.classes.append((at, step))
        elif step == STAR:
            self.in_name.append(at)
            self.skips.append(at)
        elif step == EVERYTHING:
            self.any.append(at)
            self.skips.append(at)
        elif step == FOLDERS:
            # Two states: at the first it can be left out, in the second a slash ends it.
            self.skips.append(at)
            self.optional.append(at)
            self.any.append(at + 1)
            self.literals.setdefault("/", []).append(at + 1)
            self.size += 1
        else:
            self.literals.setdefault(step, []).append(at)


class Patterns:
    """An ordered list of patterns, some of them taken back with a leading !, as moby/patternmatcher reads them.

    The last pattern that matches a path or one of its parents decides. All patterns run side by side as one automaton
    whose states are the bits of an integer; what a directory did to it is remembered, so a path costs its name only.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises BadPattern for an ill-formed pattern, for a lone "!" and for more than MAX_CHARS characters."""
        self._size = 0
        marks = _Marks()
        for pattern in filter(None, (each.strip(text.SPACE) for each in patterns)):
            self._size = marks.add(_clean(pattern))
            if self._size > MAX_CHARS:
                raise TooMany(pattern)
        self._any, self._in_name, self._skips = map(marks.bits, (marks.any, marks.in_name, marks.skips))
        self._optional, self._accepts, self._starts = map(marks.bits, (marks.optional, marks.accepts, marks.starts))
        self._taken_back, self._below = marks.bits(marks.taken_back), marks.bits(marks.below)
        self._literals = {char: marks.bits(places) for char, places in marks.literals.items()}
        self._classes, self._bits = marks.classes, marks.bits
        self._remembered = _MEMORY // (self._size // 4 + 200)
        self._taking: dict[str, int] = {}
        self._folders: dict[str, Walked] = {}
        self._root = Walked(self._closed(self._starts), 0)

    @property
    def size(self) -> int:
        """About as many as the patterns have characters."""
        return self._size

    def excludes(self, path: str) -> bool:
        """Whether the path is excluded; the root, "" or ".", never is."""
        return bool(self._size) and path not in ("", ".") and self._excluded(self._walk(path).matched)

    def may_contain(self, folder: str) -> bool:
        """Whether something below the directory may not be excluded. False only where the walk can be pruned."""
        if not self.excludes(folder):
            return True
        walked = self._walk(folder)
        # Only a pattern that is taken back after the one that excluded the directory can bring something back.
        states = self._step(walked.states, "/")
        return bool((states & self._below) >> walked.matched.bit_length())

    def _excluded(self, matched: int) -> bool:
        return bool(matched) and not (self._taken_back >> (matched.bit_length() - 1)) & 1

    def _walk(self, path: str) -> Walked:
        folder, slash, name = path.rpartition("/")
        return self._enter(self._below_folder(folder) if slash else self._root, name)

    def _below_folder(self, folder: str) -> Walked:
        """The states at the start of the names in a directory."""
        found = self._folders.get(folder)
        if found is not None:
            return found
        found = self._root
        for name in folder.split("/"):
            inside = self._enter(found, name)
            found = Walked(self._step(inside.states, "/"), inside.matched)
        if len(self._folders) >= self._remembered:
            self._folders.clear()
        self._folders[folder] = found
        return found

    def _enter(self, above: Walked, name: str) -> Walked:
        states = above.states
        for char in name:
            states = self._step(states, char)
        return Walked(states, above.matched | states & self._accepts)

    def _step(self, states: int, char: str) -> int:
        taking = self._taking.get(char)
        if taking is None:
            if len(self._taking) >= self._remembered:
                self._taking.clear()
            taking = self._taking[char] = self._taken_by(char)
        staying = self._any if char == "/" else self._any | self._in_name
        return self._closed((states & taking) << 1 | states & staying)

    def _taken_by(self, char: str) -> int:
        """The states that go on with this character."""
        bits = self._literals.get(char, 0) | (0 if char == "/" else self._literals.get(ANY, 0))
        return bits | self._bits([at for at, chars in self._classes if char in chars])

    def _closed(self, states: int) -> int:
        """With the states that can be reached without a character."""
        while True:
            # The carry of the addition runs through each stretch of states that can be skipped.
            more = states | ((states & self._skips) + self._skips) ^ self._skips
            more |= (more & self._optional) << 2
            if more == states:
                return states
            states = more


def _clean(pattern: str) -> str:
    """Go's filepath.Clean."""
    return posixpath.normpath(re.sub("/+", "/", pattern))


_PLAIN = re.compile(r"[^*?\[\]\\]*", re.DOTALL)


def _spanning_steps(pattern: str) -> list[Step]:
    """The steps of a pattern in which ** spans directories. Raises BadPattern where Go does."""
    if pattern.startswith("**") and not pattern.startswith("/", 2) and _PLAIN.fullmatch(pattern, 2):
        # A quirk of the original that files rely on: without other wildcards, **name matches any path that ends so.
        return [EVERYTHING, *pattern[2:]]
    return steps_of(pattern, spanning=True)
