"""The value types of a layer's paths; they are defined below every package that speaks of files."""

from strata_builder.entries import Entry, Item, Kind, Readable

__all__ = ["Entry", "Item", "Kind", "Readable"]
