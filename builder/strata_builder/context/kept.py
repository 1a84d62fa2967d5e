"""What of a context's directories a .dockerignore leaves."""

from __future__ import annotations

from collections.abc import Sequence

from strata_builder.context import directories, listing, tree
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.entries import Kind


class Kept:
    """By `rules`, all without any. An excluded directory is kept if something below it is taken back by a `!` pattern;
    where that cannot be, it is not read at all."""

    def __init__(self, rules: IgnoreRules | None, found: directories.Directories) -> None:
        self.rules = rules
        self._directories = found
        self._below: dict[bytes, bool] = {}

    def keeps(self, path: bytes, kind: Kind) -> bool:
        if self.rules is None or not self.rules.excludes(_text(path), kind is Kind.DIR):
            return True
        return kind is Kind.DIR and self._keeps_below(path)

    def positions(self, folder: bytes, found: listing.Listing) -> Sequence[int]:
        """Of what is kept of a directory."""
        every = range(len(found.names))
        if self.rules is None:
            return every
        return [at for at in every if self.keeps(tree.join(folder, found.names[at]), found.kind(at))]

    def _keeps_below(self, path: bytes) -> bool:
        if path not in self._below:
            self._below[path] = self._search(path)
        return self._below[path]

    def _search(self, top: bytes) -> bool:
        assert self.rules is not None
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            if not self.rules.may_contain(_text(folder)):
                continue
            for _, entry, _ in self._directories.read(folder).entries(folder):
                if not self.rules.excludes(_text(entry.path), entry.kind is Kind.DIR):
                    return True
                if entry.kind is Kind.DIR:
                    waiting.append(entry.path)
        return False


def _text(path: bytes) -> str:
    """As the patterns of an ignore file are decoded."""
    return path.decode("utf-8", "surrogateescape")
