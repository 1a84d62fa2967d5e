"""The inputs of a build as one digest: equal inputs are not built again. Pure.

What counts is what can change the image: the build fields of the spec, the commit, the ConfigMaps' contents and the
repository. Contents of Secrets, settings of the pod and Strata's own version do not: an upgrade rebuilds nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from strata_operator import kube
from strata_operator.imagebuild import spec

#: Raised when the rule below changes; every image is then built once more.
FORMAT: Final = 1
_FIELDS: Final = (
    "git",
    "archive",
    "config_map",
    "inline",
    "dockerfile_path",
    "dockerfile_inline",
    "target",
    "args",
    "secrets",
    "labels",
    "source_date_epoch",
    "network",
    "registry",
    "registry_namespace",
    "repository",
    "compression",
)


def fields(wanted: spec.Spec) -> str:
    """Digest of the fields of the spec that count. Two specs with equal digests ask for the same image."""
    return _digest({name: _plain(getattr(wanted, name)) for name in _FIELDS})


def digest(wanted: spec.Spec, *, repository: str, commit: str, config_maps: Mapping[str, kube.Object]) -> str:
    """`sha256:…` over all inputs. `repository` is the resolved one; `commit` is empty if it could not be seen."""
    contents = {name: content(config_maps[name]) for name in wanted.config_maps}
    return _digest([FORMAT, fields(wanted), repository, commit, contents])


def content(config_map: kube.Object) -> str:
    """Digest of what a ConfigMap holds."""
    return _digest([config_map.get("data") or {}, config_map.get("binaryData") or {}])


def _digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(spec.canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
