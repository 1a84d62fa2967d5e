"""Tables of contents that earlier builds kept, so that a COPY upon their layers needs none of the layers' bytes.

They lie in the registry as blobs of the cache artifact (`artifact`), and on a host also beside its blobs. One that is gone
or damaged costs the time to make it again, never the build.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from strata_builder import errors
from strata_builder.oci.image import Descriptor

if TYPE_CHECKING:
    from strata_builder.layers.index import Index

Read = Callable[[Descriptor], bytes]
Note = Callable[[str], None]


class Kept(Protocol):
    """Safe for threads."""

    def find(self, layer: str) -> Index | None:
        """The index of the layer whose blob has the digest `layer`; None if there is none, or no good one."""
        ...


class Nothing:
    def find(self, layer: str) -> Index | None:  # noqa: ARG002
        return None


class Described:
    """Those of `known` (layer digest -> the index's blob), each read with `read`, which verifies it."""

    def __init__(self, known: Mapping[str, Descriptor], read: Read, note: Note) -> None:
        self._known, self._read, self._note = known, read, note

    def find(self, layer: str) -> Index | None:
        from strata_builder.layers import index, indexfile  # takes a moment, and the registries have been asked

        blob = self._known.get(layer)
        if blob is None or blob.size > index.MAX_ENCODED or blob.media_type != indexfile.MEDIA_TYPE:
            return None  # also one that another version of this program has written
        try:
            return indexfile.decode(self._read(blob))
        except errors.BuildError as e:
            self._note(f"warning: the kept table of contents of layer {layer} is not used: {e.message}")
            return None


class Several:
    """The first that is found in any of `sources`."""

    def __init__(self, *sources: Kept) -> None:
        self._sources = sources

    def find(self, layer: str) -> Index | None:
        found = (source.find(layer) for source in self._sources)
        return next((index for index in found if index is not None), None)
