"""What earlier builds left for later ones: step key -> layer, and what lay at the URLs of ADD. Pure.

One document an image and platform. A record without a layer says that the step changed nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from strata_builder import errors, typed
from strata_builder.context.validators import Stored
from strata_builder.frozen import asdict, field, frozen, replace
from strata_builder.oci import digest
from strata_builder.oci.image import Descriptor, LayerRef

VERSION = 2
MAX_BYTES = 2 << 20
MAX_REMOTES = 200


@frozen
class Record:
    """`used` is the day (Unix days) on which a build last used it."""

    layer: LayerRef | None
    used: int = 0

    def to_json(self) -> dict[str, Any]:
        if self.layer is None:
            return {"used": self.used}
        return {"used": self.used, "layer": self.layer.descriptor.to_json(), "diffID": self.layer.diff_id}


@frozen
class Contents:
    """A layer's table of contents, kept as the blob `blob`; `used` as in `Record`."""

    blob: Descriptor
    used: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"used": self.used, "blob": self.blob.to_json()}


@frozen
class Records:
    """`builds` maps `<uid>/<number>/<attempt>/<platform>` to the digest of the manifest that this build pushed, `remotes`
    the ids of URLs to what was there, the longest unused first, `contents` the digests of layers, of bases too, to their
    tables of contents."""

    steps: Mapping[str, Record] = field(default_factory=dict)
    builds: Mapping[str, str] = field(default_factory=dict)
    remotes: Mapping[str, Stored] = field(default_factory=dict)
    contents: Mapping[str, Contents] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The steps by key, the rest as it came: the oldest is the first to go."""
        steps = {key: self.steps[key].to_json() for key in sorted(self.steps)}
        remotes = {name: asdict(stored) for name, stored in self.remotes.items()}
        contents = {layer: self.contents[layer].to_json() for layer in sorted(self.contents)}
        data = {"v": VERSION, "steps": steps, "builds": dict(self.builds), "remotes": remotes, "contents": contents}
        return json.dumps(data, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Records:
        """Raises LayerError where the document is not one of ours; its caller goes on without a cache."""
        try:
            parsed = json.loads(data)
            if parsed["v"] != VERSION:
                return cls()
            steps = {_hex(key): _record(value, key) for key, value in parsed["steps"].items()}
            builds = {str(key): digest.parse_digest(value) for key, value in parsed.get("builds", {}).items()}
            remotes = {_hex(key): _stored(value, key) for key, value in parsed.get("remotes", {}).items()}
            held = parsed.get("contents", {})
            contents = {digest.parse_digest(layer): _contents(value, layer) for layer, value in held.items()}
        except (errors.BuildError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise errors.LayerError(f"the cache's record is damaged: {type(e).__name__}: {str(e)[:200]}") from e
        return cls(steps, builds, remotes, contents)

    def merged(self, newer: Records) -> Records:
        unused = {key: stored for key, stored in self.remotes.items() if key not in newer.remotes}
        return Records(
            {**self.steps, **newer.steps},
            {**self.builds, **newer.builds},
            {**unused, **newer.remotes},
            {**self.contents, **newer.contents},
        )

    def holds(self, newer: Records) -> bool:
        """Whether `newer` would add nothing."""
        return self.merged(newer) == self

    def trimmed(self, *, today: int, max_age: int, max_size: int) -> Records:
        """Without what was unused for more than `max_age` days, then without the longest unused, until layers and tables
        of contents are at most `max_size` bytes and the document at most MAX_BYTES. The last 20 builds and MAX_REMOTES
        URLs stay."""
        steps = {key: record for key, record in self.steps.items() if today - record.used <= max_age}
        contents = {layer: held for layer, held in self.contents.items() if today - held.used <= max_age}
        remotes = dict(list(self.remotes.items())[-MAX_REMOTES:])
        kept = Records(steps, dict(list(self.builds.items())[-20:]), remotes, contents)
        order = [(record.used, key) for key, record in steps.items()]
        order = sorted([*order, *((held.used, layer) for layer, held in contents.items())])
        while order and (kept.size > max_size or len(kept.to_bytes()) > MAX_BYTES):
            gone = max(1, len(order) // 16)
            for _, key in order[:gone]:
                steps.pop(key, None)
                contents.pop(key, None)
            order = order[gone:]
        return kept

    @property
    def size(self) -> int:
        """Bytes of all that the records name."""
        return sum(found.size for found in self.blobs())

    def blobs(self) -> tuple[Descriptor, ...]:
        """Each layer and each table of contents once, in the order of their digests."""
        held = {c.blob.digest: c.blob for c in self.contents.values()}
        found = {layer.descriptor.digest: layer.descriptor for layer in self.layers()} | held
        return tuple(found[name] for name in sorted(found))

    def layers(self) -> tuple[LayerRef, ...]:
        """Each layer once, in the order of their digests."""
        found = {r.layer.descriptor.digest: r.layer for r in self.steps.values() if r.layer}
        return tuple(found[name] for name in sorted(found))


def used_today(found: Iterable[tuple[str, Record]], today: int) -> dict[str, Record]:
    return {key: replace(record, used=today) for key, record in found}


def _record(data: Mapping[str, Any], key: str) -> Record:
    used = data["used"]
    if not isinstance(used, int):
        raise TypeError(f"steps.{key}.used")
    if "layer" not in data:
        return Record(None, used)
    layer = LayerRef(Descriptor.from_json(data["layer"], f"steps.{key}.layer"), digest.parse_digest(data["diffID"]))
    return Record(layer, used)


def _stored(data: Mapping[str, Any], key: str) -> Stored:
    try:
        return typed.decode(Stored, data, f"remotes.{key}", whole=True)  # type: ignore[no-any-return]
    except typed.Mismatch as e:
        raise ValueError(str(e)) from None


def _contents(data: Mapping[str, Any], layer: str) -> Contents:
    used = data["used"]
    if not isinstance(used, int):
        raise TypeError(f"contents.{layer}.used")
    return Contents(Descriptor.from_json(data["blob"], f"contents.{layer}.blob"), used)


def _hex(key: str) -> str:
    if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        raise ValueError(f"{key[:80]!r} is no key")
    return key
