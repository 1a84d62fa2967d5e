"""The base images that a container has met, which it tells where it fails: when one of them moves, it is built again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from strata_builder import contract, errors

if TYPE_CHECKING:  # most of the engine, which not every container needs
    from strata_builder.engine import filescope, steps
    from strata_builder.oci.platform import Platform

#: Is told the name of a base image and the digest of its manifest, empty where there is none.
Meet = Callable[[str, str], None]


def meet_nothing(name: str, digest: str) -> None:
    """For whoever need not tell."""


class Met:
    """Takes down base images, each once, in their order."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], None] = {}

    def meet(self, name: str, digest: str) -> None:
        self._found[name, digest] = None

    def all(self) -> tuple[contract.BaseImage, ...]:
        return tuple(contract.BaseImage(*one) for one in self._found)


class Images:
    """An `engine.filescope.Images` that tells of each base image that is asked for."""

    def __init__(self, inner: filescope.Images, meet: Meet) -> None:
        self._inner, self._meet = inner, meet

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        try:
            base = self._inner.resolve(reference, platform)
        except errors.BuildError as e:
            if e.reason == errors.BaseImageNotFound.reason:  # also of an index that lacks the platform
                self._meet(reference, "")
            raise
        self._meet(base.name, base.digest)
        return base
