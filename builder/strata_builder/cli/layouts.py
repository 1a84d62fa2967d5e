"""Named contexts that are OCI layouts: images of this machine's disk beside those of registries."""

from __future__ import annotations

from pathlib import Path

from strata_builder import errors
from strata_builder.engine import images, steps
from strata_builder.oci import layout
from strata_builder.oci.image import MAX_CONFIG, Image, ImageConfig
from strata_builder.oci.platform import Platform

PREFIX = "oci-layout://"


class Images(images.RegistryImages):
    """Also resolves oci-layout://DIR[:TAG][@DIGEST] and archives of a layout."""

    def resolve(self, name: str, platform: Platform) -> steps.Base:
        return self._layout(name, platform) if name.startswith(PREFIX) else super().resolve(name, platform)

    def _layout(self, name: str, platform: Platform) -> steps.Base:
        path, tag, digest = _parts(name.removeprefix(PREFIX))
        if not Path(path).exists():
            raise errors.BaseImageNotFound(f"{name}: there is nothing at {path}")
        store = layout.LayoutFolder(Path(path)) if Path(path).is_dir() else layout.LayoutTar(Path(path))
        descriptor, manifest = layout.find(store, platform, ref_name=tag, digest=digest)
        config = ImageConfig.from_bytes(
            layout.read_bytes(store, manifest.config, limit=MAX_CONFIG), name=f"{name}: config"
        )
        image = Image.of(manifest, config, name=name)
        return self.remember(steps.Base(name, descriptor.digest, image, name), store.open)


def _parts(text: str) -> tuple[str, str, str]:
    """The path, the tag and the digest; a folder's name may hold what else begins one."""
    named, at, digest = text.rpartition("@")
    if not at or not digest.startswith("sha256:"):
        named, digest = text, ""
    path, colon, tag = named.rpartition(":")
    return (path, tag, digest) if colon and "/" not in tag else (named, "", digest)
