"""A logical line taken apart: what every parser of an instruction starts from."""

from __future__ import annotations

from collections.abc import Mapping

from strata_builder.dockerfile import flags, text
from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile.faults import Fault
from strata_builder.dockerfile.flags import Kind
from strata_builder.frozen import frozen


@frozen
class Statement:
    """A logical line taken apart: `line` is all of it. `heredocs` are empty until their bodies have been read."""

    span: typed.Span
    line: str
    keyword: str
    flag_words: tuple[str, ...]
    rest: str
    escape: str
    heredocs: tuple[typed.Heredoc, ...] = ()

    @property
    def text(self) -> str:
        return self.line.strip(text.SPACE)

    @property
    def head(self) -> tuple[typed.Span, str]:
        return self.span, self.text

    def flags(self, known: Mapping[str, Kind] | None = None) -> flags.Flags:
        return flags.parse(self.keyword, self.flag_words, known or {})

    def one_argument(self, usage: str) -> str:
        """All that follows the keyword; raises Fault, which shows `usage`, if that is nothing."""
        if not self.rest:
            raise self.needs_argument(usage)
        return self.rest

    def needs_argument(self, usage: str) -> Fault:
        return Fault(f"{self.keyword} needs an argument", hint=f"write {usage}")
