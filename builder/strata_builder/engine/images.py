"""Base images from registries, OCI layouts and archives; and the provider that brings their layers."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from strata_builder import errors
from strata_builder.engine import steps
from strata_builder.oci import errors as oci_errors
from strata_builder.oci import reference
from strata_builder.oci.image import Descriptor, LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.registry import errors as registry_errors
from strata_builder.registry import pull, registries

Opener = Callable[[Descriptor], BinaryIO]


class RegistryImages:
    """Resolves references and remembers where each layer is. An `Images` for the planner and a `Provider` for blobs."""

    def __init__(self, found: registries.Registries) -> None:
        self._registries = found
        self._openers: dict[str, Opener] = {}
        self._bases: list[steps.Base] = []
        self._lock = threading.Lock()

    def resolve(self, name: str, platform: Platform) -> steps.Base:
        """Raises BaseImageNotFound, RegistryUnavailable, ImageInvalid and InvalidSpec (for what is no reference)."""
        try:
            resolved = pull.resolve_image(reference.Reference.parse(name), platform, self._registries)
            image = resolved.image
        except registry_errors.Unavailable as e:
            raise errors.RegistryUnavailable(f"base image {name}: {e.message}", hint=e.hint) from e
        except registry_errors.RegistryError as e:
            raise errors.BaseImageNotFound(f"base image {name}: {e.message}", hint=e.hint or _HINT) from e
        except oci_errors.ImageInvalid as e:
            e.message, e.hint = f"base image {e.message}", e.hint or DAMAGED
            raise
        origin = f"{resolved.registry.host}/{resolved.repository}"
        return self.remember(steps.Base(name, resolved.manifest_digest, image, origin), resolved.open)

    def remember(self, base: steps.Base, opener: Opener) -> steps.Base:
        """`base`, whose layers can be read with `opener` from now on."""
        self.knows(base.image.layers, opener)
        with self._lock:
            self._bases.append(base)
        return base

    def knows(self, layers: tuple[LayerRef, ...], opener: Opener) -> None:
        """These layers can be read with `opener`."""
        with self._lock:
            self._openers.update({layer.descriptor.digest: opener for layer in layers})

    def bring(self, layer: LayerRef, to: Path) -> None:
        """Raises BaseImageNotFound or LayerError for a base's layer that its registry lacks, or has damaged."""
        digest = layer.descriptor.digest
        opener = self._openers.get(digest)
        if opener is None:
            raise errors.InfrastructureFailed(f"nothing tells where layer {digest} is")
        label = next(filter(None, (base.layer(digest) for base in self._bases)), "")
        try:
            _save_checked(lambda: opener(layer.descriptor), layer.descriptor, to)
        except registry_errors.NotFound as e:
            if not label:
                raise
            hint = f"the image is incomplete: push all of it to {e.host} again, or use another one"
            raise errors.BaseImageNotFound(f"{label}: {e.message}", hint=hint) from e
        except errors.BuildError as e:
            e.message = f"{label}: {e.message}" if label else e.message
            raise


_HINT = "check the name and tag in FROM; for a private image give credentials (docker login, or spec.pullSecrets)"
DAMAGED = "use another tag or digest of the image, or build and push it again"


def _save_checked(opener: Callable[[], BinaryIO], descriptor: Descriptor, to: Path) -> None:
    """Reads once more where the bytes are wrong: if they are so in the same way, no repetition helps."""
    try:
        save(opener, descriptor, to)
    except oci_errors.DigestMismatch as first:
        try:
            save(opener, descriptor, to)
        except oci_errors.DigestMismatch as again:
            if again.message != first.message:
                raise
            raise errors.LayerError(again.message, hint=again.hint) from again


def save(opener: Callable[[], BinaryIO], descriptor: Descriptor, to: Path) -> None:
    """What `opener` gives as the file `to`, there only when whole. Its reader verifies digest and size."""
    handle, name = tempfile.mkstemp(dir=to.parent, prefix=".partial-")
    partial = Path(name)
    try:
        with open(handle, "wb", buffering=0) as out, opener() as blob:
            shutil.copyfileobj(blob, out, 1 << 20)
        if partial.stat().st_size != descriptor.size:
            raise errors.RegistryUnavailable(f"blob {descriptor.digest} ended early")
        partial.chmod(0o644)
        partial.rename(to)
    except OSError as e:
        raise errors.InfrastructureFailed(f"cannot store blob {descriptor.digest} at {to.parent}: {e.strerror}") from e
    finally:
        partial.unlink(missing_ok=True)
