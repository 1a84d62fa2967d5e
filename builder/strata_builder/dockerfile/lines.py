"""Bytes -> directives and logical lines: comments, continuations, blank lines and here-documents.

Follows moby/buildkit frontend/dockerfile/parser, quirks included: a comment or a blank line inside a continued
instruction is skipped and the instruction goes on; a doubled escape at the end of a line continues nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from strata_builder.dockerfile import text
from strata_builder.dockerfile.faults import Fault
from strata_builder.frozen import frozen

_DIRECTIVE = re.compile(r"#[ \t]*([a-zA-Z][a-zA-Z0-9]*)[ \t]*=(.*)", re.DOTALL)
_DIRECTIVES = ("syntax", "escape", "check")
_BOM = "\ufeff"


@frozen
class LogicalLine:
    """One instruction as a single line, and the lines that it came from (without those of its here-documents).

    `comments` stand before it; `blank` tells that an empty line is in the middle of it.
    """

    text: str
    start: int
    end: int
    comments: tuple[str, ...] = ()
    blank: bool = False


class BadDirective(Fault):
    """A directive at the top of the file; it stands where the reader is."""


class Reader:
    """Reads one Dockerfile from top to bottom.

    `raw` are the lines with their line ends (the bodies of here-documents keep them), `lines` the same without.
    `directives` fills while the first lines are read.
    """

    def __init__(self, raw: list[str]) -> None:
        self.raw = raw
        self.lines = [line.rstrip("\r\n") for line in raw]
        self.position = 0
        self.directives: dict[str, str] = {}
        self.escape = "\\"
        self._in_directives = True
        self._comments: list[str] = []

    @classmethod
    def of(cls, source: str) -> Reader:
        *ended, last = source.removeprefix(_BOM).split("\n")
        return cls([f"{line}\n" for line in ended] + ([last] if last else []))

    def logical_lines(self) -> Iterator[LogicalLine]:
        """The instructions in order. Between two of them the caller may take `heredoc` bodies from the reader."""
        while self.position < len(self.lines):
            written = self._next()
            line = written.lstrip(text.SPACE)
            if line.startswith("#"):
                if not self._directive(line):
                    self._comment(written)
                continue
            self._in_directives = False
            if line:
                yield self._continued(line)

    def heredoc(self, name: str, chomp: bool) -> str:
        """The lines up to the one that is the delimiter (after leading tabs if `chomp`), with their line ends."""
        start = self.position
        while self.position < len(self.lines):
            line = self._next()
            if (line.lstrip("\t") if chomp else line) == name:
                return "".join(self.raw[start : self.position - 1])
        raise Fault(
            f"here-document <<{name} has no end",
            about=f"<<{name}",
            hint=f"end it with a line that is exactly {name}, without spaces around it",
        )

    def _next(self) -> str:
        self.position += 1
        return self.lines[self.position - 1]

    def _continued(self, line: str) -> LogicalLine:
        start, blank = self.position, False
        part, more = self._cut(line)
        parts = [part]
        while more and self.position < len(self.lines):
            line = self._next()
            start_of_text = line.lstrip(text.SPACE)
            if start_of_text and not start_of_text.startswith("#"):
                part, more = self._cut(line)
                parts.append(part)
            blank = blank or not start_of_text
        comments, self._comments = tuple(self._comments), []
        return LogicalLine("".join(parts), start, self.position, comments, blank)

    def _comment(self, line: str) -> None:
        """Comments belong to the instruction after them, unless an empty one stands between. As elsewhere the first
        character goes, which is the mark only where the line is not indented."""
        if comment := line[1:].strip(text.SPACE):
            self._comments.append(comment)
        else:
            self._comments.clear()

    def _cut(self, line: str) -> tuple[str, bool]:
        """The line without its continuation mark, and whether there was one."""
        trimmed = line.rstrip(" \t")
        if trimmed.endswith(self.escape) and not trimmed[:-1].endswith(self.escape):
            return trimmed[:-1], True
        return line, False

    def _directive(self, line: str) -> bool:
        """Whether the line is one. Directives stand at the very top: the first line that is none ends them."""
        match = _DIRECTIVE.fullmatch(line) if self._in_directives else None
        name = match[1].lower() if match else ""
        value = match[2].strip(text.SPACE) if match else ""
        if name not in _DIRECTIVES or not value:
            self._in_directives = False
            return False
        if name in self.directives:
            raise BadDirective(f"the directive {name} stands twice", about=line, hint="keep one of them")
        self.directives[name] = value
        if name == "escape":
            self._set_escape(value, line)
        return True

    def _set_escape(self, value: str, line: str) -> None:
        if value not in ("\\", "`"):
            raise BadDirective(
                f"invalid escape character {value!r}", about=line, hint="write # escape=\\ or # escape=`"
            )
        self.escape = value
