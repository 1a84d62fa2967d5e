"""What the cache keeps of an ImageBuild: inline contents are replaced by their digests, so that ten thousand fit into memory.
Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from strata_operator import cache, kube

_TRIMMED: Final = "strata.build/trimmed"  # a key at the top level of a trimmed body; never sent anywhere


def trim(body: kube.Object) -> kube.Object:
    """`body` as the cache keeps it; trimming twice changes nothing."""
    body = cache.trim(body)
    spec = body.get("spec")
    if _TRIMMED in body or not isinstance(spec, dict):
        return body
    source, dockerfile = spec.get("source") or {}, spec.get("dockerfile") or {}
    changes: dict[str, Any] = {}
    if source.get("inline"):
        digests = {path: sha256(content) for path, content in source["inline"].items()}
        changes["source"] = {**source, "inline": digests}
    if dockerfile.get("inline"):
        changes["dockerfile"] = {"inline": sha256(dockerfile["inline"])}
    return {**body, "spec": {**spec, **changes}, _TRIMMED: True} if changes else body


def is_whole(body: kube.Object) -> bool:
    """Whether `body` has all contents itself."""
    return _TRIMMED not in body


def whole(body: kube.Object, spec: Mapping[str, Any]) -> kube.Object:
    """A trimmed `body` with its contents, which are in `spec`."""
    return {**{name: value for name, value in body.items() if name != _TRIMMED}, "spec": spec}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
