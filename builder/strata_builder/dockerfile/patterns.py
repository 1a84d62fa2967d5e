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


_REMEMBERED = 10_000


class Patterns:
    """An ordered list of patterns, some of them taken back with a leading !, as moby/patternmatcher reads them.

    The last pattern that matches a path or one of its parents decides. All patterns run side by side as one automaton
    whose states are the bits of an integer; what a directory did to it is remembered, so a path costs its name only.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises BadPattern for an ill-formed pattern and for a lone "!"."""
        self._any = self._in_name = self._skips = self._optional = 0
        self._accepts = self._taken_back = self._starts = self._below = 0
        self._literals: dict[str, int] = {}
        self._classes: list[tuple[int, CharClass]] = []
        self._size = 0
        for pattern in filter(None, (each.strip(text.SPACE) for each in patterns)):
            self._add(_clean(pattern))
        self._taking: dict[str, int] = {}
        self._folders: dict[str, Walked] = {}
        self._root = Walked(self._closed(self._starts), 0)

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
        if len(self._folders) >= _REMEMBERED:
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
            taking = self._taking[char] = self._taken_by(char)
        staying = self._any if char == "/" else self._any | self._in_name
        return self._closed((states & taking) << 1 | states & staying)

    def _taken_by(self, char: str) -> int:
        """The states that go on with this character."""
        bits = self._literals.get(char, 0) | (0 if char == "/" else self._literals.get(ANY, 0))
        for bit, chars in self._classes:
            bits |= bit if char in chars else 0
        return bits

    def _closed(self, states: int) -> int:
        """With the states that can be reached without a character."""
        while True:
            # The carry of the addition runs through each stretch of states that can be skipped.
            more = states | ((states & self._skips) + self._skips) ^ self._skips
            more |= (more & self._optional) << 2
            if more == states:
                return states
            states = more

    def _add(self, pattern: str) -> None:
        taken_back = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        if not pattern:
            raise BadPattern("!")
        first = self._size
        self._starts |= 1 << first
        for step in _spanning_steps(pattern):
            self._add_step(step)
        self._accepts |= 1 << self._size
        self._size += 1
        if taken_back:
            self._taken_back |= 1 << self._size - 1
            self._below |= (1 << self._size) - (1 << first)

    def _add_step(self, step: Step) -> None:
        bit = 1 << self._size
        self._size += 1
        if isinstance(step, CharClass):
            self._classes.append((bit, step))
        elif step == STAR:
            self._in_name |= bit
            self._skips |= bit
        elif step == EVERYTHING:
            self._any |= bit
            self._skips |= bit
        elif step == FOLDERS:
            # Two states: at the first it can be left out, in the second a slash ends it.
            self._skips |= bit
            self._optional |= bit
            self._any |= bit << 1
            self._literals["/"] = self._literals.get("/", 0) | bit << 1
            self._size += 1
        else:
            self._literals[step] = self._literals.get(step, 0) | bit


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
