"""What fetch has found out (plan.json) and what build has made (result.json), as values and as bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from strata_builder import contract
from strata_builder.engine import keys, records, steps
from strata_builder.frozen import frozen
from strata_builder.oci import digest as digests
from strata_builder.oci import mediatypes
from strata_builder.oci.image import Descriptor, Image, ImageConfig, LayerRef
from strata_builder.oci.manifest import parse_manifest
from strata_builder.pod import wire

MAX_PLAN: Final = 64 << 20
MAX_RESULT: Final = 4 << 20
MAX_MADE: Final = 4096
MAX_STEPS: Final = 10_000
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_LAYER_TYPES: Final = frozenset(mediatypes.layer_of(compression) for compression in ("", "gzip", "zstd"))


@frozen
class Base:
    """A base image as fetch resolved it; `manifest` and `config` are JSON text, `platform` what was asked for."""

    name: str
    platform: str
    digest: str
    manifest: str
    config: str
    origin: str

    @classmethod
    def of(cls, platform: str, base: steps.Base) -> Base:
        image = base.image
        manifest, config = image.manifest_bytes().decode(), image.config_bytes().decode()
        return cls(base.name, platform, base.digest, manifest, config, base.origin)

    def resolved(self) -> steps.Base:
        manifest = parse_manifest(self.manifest.encode(), name=self.name)
        config = ImageConfig.from_bytes(self.config.encode(), name=f"config of {self.name}")
        return steps.Base(self.name, self.digest, Image.of(manifest, config, name=self.name), self.origin)


@frozen
class PlanFile:
    """`stages` and `steps` are the definition keys; `missing` the RUNs that no record stands for, as (stage, step).

    `fetched` is in seconds, `pulled` in bytes, both up to the plan. `epoch` is SOURCE_DATE_EPOCH as fetch settled it.
    """

    source: contract.SourceResult
    dockerfile: str
    bases: tuple[Base, ...]
    stages: tuple[tuple[int, str], ...]
    steps: tuple[tuple[int, int, str], ...]
    missing: tuple[tuple[int, int], ...]
    secrets: tuple[str, ...]
    fetched: float
    pulled: int
    epoch: int | None = None

    def keyed(self) -> keys.Keyed:
        return keys.Keyed(dict(self.stages), {(stage, step): key for stage, step, key in self.steps})

    def to_bytes(self) -> bytes:
        return wire.dump(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> PlanFile:
        """Raises WireError."""
        return wire.load(cls, data, limit=MAX_PLAN, what="plan.json")


def keys_of(keyed: keys.Keyed) -> tuple[tuple[tuple[int, str], ...], tuple[tuple[int, int, str], ...]]:
    """The fields `stages` and `steps` of a PlanFile."""
    return tuple(sorted(keyed.stages.items())), tuple((*at, key) for at, key in sorted(keyed.steps.items()))


@frozen
class Layer:
    media_type: str
    digest: str
    size: int
    diff_id: str


@frozen
class Made:
    """The step with definition key `key` made `layer`; None: it changed nothing."""

    key: str
    layer: Layer | None

    @classmethod
    def of(cls, key: str, record: records.Record) -> Made:
        return cls(key, _layer(record.layer))

    def record(self) -> records.Record:
        return records.Record(_reference(self.layer))

    def to_bytes(self) -> bytes:
        return wire.dump(self)

    @classmethod
    def from_bytes(cls, data: bytes, allowed: frozenset[str]) -> Made:
        """The bytes are hostile. Raises WireError."""
        made = wire.load(cls, data, limit=MAX_MADE, what="a step")
        if made.key not in allowed:
            raise wire.WireError("a step that the plan does not have was told")
        _check_layer(made.layer)
        return made


@frozen
class Result:
    """What build says at its end. `seconds` and `peak` (bytes of memory) are only shown."""

    made: tuple[Made, ...]
    steps: tuple[contract.Step, ...]
    seconds: float
    peak: int

    @classmethod
    def of(
        cls, made: Mapping[str, records.Record], rows: tuple[contract.Step, ...], seconds: float, peak: int
    ) -> Result:
        found = tuple(Made.of(key, record) for key, record in sorted(made.items()))
        return cls(found, rows, seconds, peak)

    def to_bytes(self) -> bytes:
        return wire.dump(self)

    @classmethod
    def from_bytes(cls, data: bytes, allowed: frozenset[str]) -> Result:
        """The bytes are hostile: keys must be among `allowed`, each once, layers well formed, numbers sane, rows few.

        Raises WireError.
        """
        result = wire.load(cls, data, limit=MAX_RESULT, what="result.json")
        names = [made.key for made in result.made]
        if len(set(names)) != len(names) or not set(names) <= allowed:
            raise wire.WireError("result.json: made names a step that the plan does not have, or one twice")
        for made in result.made:
            _check_layer(made.layer)
        if len(result.steps) > MAX_STEPS or result.seconds < 0 or not 0 <= result.peak < 1 << 60:
            raise wire.WireError("result.json: a number is out of range")
        return result

    def records(self) -> dict[str, records.Record]:
        return {made.key: made.record() for made in self.made}


def _layer(reference: LayerRef | None) -> Layer | None:
    if reference is None:
        return None
    found = reference.descriptor
    return Layer(found.media_type, found.digest, found.size, reference.diff_id)


def _reference(layer: Layer | None) -> LayerRef | None:
    if layer is None:
        return None
    return LayerRef(Descriptor(layer.media_type, layer.digest, layer.size), layer.diff_id)


def _check_layer(layer: Layer | None) -> None:
    if layer is None:
        return
    well_formed = digests.is_digest(layer.digest) and digests.is_digest(layer.diff_id) and 0 < layer.size < 1 << 50
    if not well_formed or layer.media_type not in _LAYER_TYPES:
        raise wire.WireError("result.json: a layer has no right digest, size or media type")
