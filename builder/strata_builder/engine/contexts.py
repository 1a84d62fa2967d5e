"""Named contexts: what a build is given beside its own context, and which names mean them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from strata_builder import errors
from strata_builder.context.tree import Tree
from strata_builder.frozen import frozen
from strata_builder.oci import reference

_RESERVED = ("context", "scratch")


@frozen
class TreeContext:
    """A named context that is a folder; `time` is when what was fetched for it last changed, if anything tells that."""

    tree: Tree
    time: int | None = None


@frozen
class ImageContext:
    """A named context that is an image: `reference` as `Images.resolve` takes it."""

    reference: str


NamedContext = TreeContext | ImageContext


def key(name: str) -> str:
    """One key for all ways to write a name: `alpine`, `Alpine` and `docker.io/library/alpine:latest` are one context."""
    lower = name.lower()
    try:
        return reference.Reference.parse(lower).familiar.removesuffix(":latest")
    except errors.BuildError:
        return lower


def find(given: Mapping[str, NamedContext], name: str) -> NamedContext | None:
    """What `name` means of those that were given, by `key`; `scratch` and `context` keep their own meaning (BuildKit)."""
    return None if name.lower() in _RESERVED else given.get(key(name))
