"""One layer on its way below a root: its entries in their order, then its end (see `settle`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from strata_builder.entries import Entry, Kind
from strata_builder.layers import index, ownership, places, recorded, restore, settle
from strata_builder.layers.content import Contents


class Writing:
    """`built` hears of each entry; what cannot be set is appended to `skipped`."""

    def __init__(
        self, root: Path, built: index.Builder, options: restore.Options, skipped: list[recorded.Skipped]
    ) -> None:
        self.places = places.Places(root, built, options.skip)
        self._built, self._options = built, options
        self._ownership = ownership.Ownership(options.owner, skipped)
        self._restorer = restore.Restorer(self.places, built, options, self._ownership)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.places.folders.close()

    def entry(self, entry: Entry, content: Contents) -> None:
        """Raises LayerError, OSError."""
        if entry.kind is not Kind.FILE:
            self._built.add(entry)
        try:
            digest, text = self._restorer.entry(entry, content)
        except OSError as error:
            error.filename = error.filename or os.fsdecode(entry.path)
            raise
        if entry.kind is Kind.FILE:
            self._built.add(entry._replace(digest=digest) if digest else entry, text)

    def finish(self) -> index.Index:
        """The layer's index, once all of it is as it is to be. Raises LayerError, OSError."""
        contents = self._built.finish()
        settle.settle(self.places, contents, self._options, self._ownership)
        return contents
