"""Findings: what was found, and the collection that the settings filter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from strata_builder.dockerfile import instructions as ins
from strata_builder.frozen import field, frozen
from strata_builder.lint import settings

_EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})
_URL = "https://docs.docker.com/go/dockerfile/rule/"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Finding(NamedTuple):
    """`rule` is the check's name, `span` the lines of the instruction."""

    start: int
    end: int
    rule: str
    message: str

    @property
    def url(self) -> str:
        """Where the rule is explained."""
        return f"{_URL}{_WORDS.sub('-', self.rule).lower()}/"


@frozen
class Findings:
    """All that was found. `comments` are those above instructions, by first line: a check directive there counts too."""

    settings: settings.Settings
    comments: Mapping[int, tuple[str, ...]]
    found: set[Finding] = field(default_factory=set)

    def add(self, rule: str, message: str, span: ins.Span, *, above: bool = True) -> None:
        """One more; `above` false for the rules that look at the whole file, which comments do not reach."""
        chosen = self.settings
        if above:
            chosen = chosen.merged(settings.of_comments(self.comments.get(span.start, ())))
        if chosen.applies(rule, experimental=rule in _EXPERIMENTAL):
            self.found.add(Finding(span.start, span.end, rule, message))
