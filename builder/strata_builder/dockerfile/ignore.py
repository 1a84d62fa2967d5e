""".dockerignore: which files of the build context do not exist for COPY, ADD and bind mounts.

Follows moby/patternmatcher: a # at the start of a line comments, spaces around a pattern go, paths are cleaned, a
leading slash means nothing, the last pattern that matches decides, and the parent of a match is a match.
"""

from __future__ import annotations

import posixpath
import re

from strata_builder import errors
from strata_builder.dockerfile import match, patterns, text
from strata_builder.dockerfile.faults import Fault, placed


class IgnoreRules:
    """The rules of one file. Paths are slash-separated, relative to the context, decoded as `text.decode` does."""

    def __init__(self, rules: tuple[str, ...] = ()) -> None:
        self.rules = rules
        self._matcher = patterns.Patterns(rules)

    @classmethod
    def parse(cls, data: bytes, name: str = ".dockerignore") -> IgnoreRules:
        """The rules in a file's bytes; `name` is for messages. Raises errors.DockerfileError."""
        lines = text.decode(data).removeprefix("\ufeff").split("\n")
        found: list[str] = []
        chars = 0
        for number, line in enumerate(lines, start=1):
            if line.startswith("#") or not (pattern := _pattern(line)):
                continue
            try:
                chars += patterns.Patterns([pattern]).size
                if chars > patterns.MAX_CHARS:
                    raise patterns.TooMany(pattern)
            except match.BadPattern as error:
                raise _bad(error, line, name, lines, number) from None
            found.append(pattern)
        return cls(tuple(found))

    def excludes(self, path: str, is_dir: bool = False) -> bool:  # noqa: ARG002
        """Whether the path is ignored. Patterns match files and directories alike; a trailing slash is nothing."""
        return self._matcher.excludes(path)

    def may_contain(self, folder: str) -> bool:
        """Whether anything below the directory may still be wanted; a walk need not enter where this is false."""
        return self._matcher.may_contain(folder)


def _bad(error: match.BadPattern, line: str, name: str, lines: list[str], number: int) -> errors.DockerfileError:
    hint = "name what to take back: !pattern" if error.pattern == "!" else "close every [ with ], and escape with \\"
    if isinstance(error, patterns.TooMany):
        hint = "exclude folders rather than files one by one, or all (*) and take back what is needed (!name)"
    return placed(Fault(str(error), about=line.strip(text.SPACE), hint=hint), name, lines, number, number)


def _pattern(line: str) -> str:
    pattern = line.strip(text.SPACE)
    mark = "!" if pattern.startswith("!") else ""
    pattern = pattern[len(mark) :].strip(text.SPACE)
    if pattern:
        pattern = posixpath.normpath(re.sub("/+", "/", pattern))
        pattern = pattern.removeprefix("/") or pattern
    return mark + pattern
