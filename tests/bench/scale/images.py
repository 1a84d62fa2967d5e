"""The images of the ImageBuilds, in a real registry.

An image is pushed as a builder pushes it. The repositories of builds that have long finished get their link to its
manifest straight in the registry's storage, as the registry writes it: ten thousand pushes would measure the registry.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

from strata_builder.oci.image import Descriptor, History, Image, LayerRef
from strata_builder.oci.platform import host
from strata_builder.registry import client, push
from support import layertrees, registry_process

_BASE = "scale/base"


class Images:
    """One image of one small layer, for all repositories."""

    def __init__(self, registry: registry_process.RegistryProcess) -> None:
        self._registry = registry
        packed = layertrees.packed(registry.folder / "layer", [layertrees.file("hello", b"hello\n")])
        layer = LayerRef(Descriptor(packed.media_type, packed.digest, packed.size), packed.diff_id)
        self._image = Image.scratch(host()).append(layer, History(created="2024-01-01T00:00:00Z", created_by="COPY"))
        self._blobs = {packed.digest: packed.blob.read_bytes()}
        data = self._image.manifest_bytes()
        self.size = len(data) + self._image.config_descriptor.size + packed.size
        self.digest = self.push(_BASE)

    def push(self, repository: str) -> str:
        """By digest alone, as builders do: tags are the operator's. What the base has is mounted."""
        registry = client.Registry(self._registry.host, insecure=True)
        known = {} if repository == _BASE else dict.fromkeys(self._blobs, _BASE)
        try:
            return push.push_image(registry, repository, self._image, self._opener, mount_from=known).digest
        finally:
            registry.close()

    def link(self, repository: str) -> None:
        """The manifest is in `repository` from now on, tagged latest."""
        folder = self._registry.storage / "repositories" / repository / "_manifests"
        revision = self.digest.replace(":", "/")
        for place in (f"revisions/{revision}", "tags/latest/current", f"tags/latest/index/{revision}"):
            (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / place / "link").write_text(self.digest)

    def tagged(self, repository: str) -> bool:
        """Whether latest names the image."""
        link = self._registry.storage / "repositories" / repository / "_manifests/tags/latest/current/link"
        return link.exists() and link.read_text() == self.digest

    def _opener(self, wanted: Descriptor) -> Callable[[], BinaryIO] | None:
        data = self._blobs.get(wanted.digest)
        return None if data is None else lambda: io.BytesIO(data)
