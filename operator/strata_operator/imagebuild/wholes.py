"""ImageBuilds with their inline contents, of which the cache holds digests only: those that are needed at the moment."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from strata_operator import kube, names
from strata_operator.imagebuild import trimming
from strata_operator.imagebuild.case import Observed

_MOST: Final = 16  # specs that are kept: one look asks several times, and as many look at once


class Wholes:
    """A spec never changes without its object's generation, so what was read once holds for the rest of a look."""

    def __init__(self, client: kube.Kube) -> None:
        self._kube = client
        self._specs: dict[tuple[str, int], Any] = {}

    async def of(self, seen: Observed) -> Observed:
        """`seen` with all contents. Raises kube.Conflict if the spec has changed meanwhile, KubeError."""
        if trimming.is_whole(seen.body):
            return seen
        found = self._specs.get((seen.uid, seen.generation)) or await self._read(seen)
        return dataclasses.replace(seen, body=trimming.whole(seen.body, found))

    async def _read(self, seen: Observed) -> Any:
        body = await self._kube.get(names.IMAGEBUILDS, *seen.key)
        meta = (body or {}).get("metadata") or {}
        if body is None or (meta.get("uid"), meta.get("generation")) != (seen.uid, seen.generation):
            raise kube.Conflict(409, "Conflict", f"ImageBuild {seen.key} has changed while it was looked at")
        while len(self._specs) >= _MOST:
            del self._specs[next(iter(self._specs))]
        self._specs[seen.uid, seen.generation] = body["spec"]
        return body["spec"]
