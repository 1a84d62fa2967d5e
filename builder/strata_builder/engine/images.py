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
        self._lock = threading.Lock()

    def resolve(self, name: str, platform: Platform) -> steps.Base:
        """Raises BaseImageNotFound, RegistryUnavailable and DockerfileError (for what is no reference)."""
        try:
            resolved = pull.resolve_image(reference.Reference.parse(name), platform, self._registries)
        except registry_errors.Unavailable as e:
            raise errors.RegistryUnavailable(f"base image {name}: {e.message}", hint=e.hint) from e
        except registry_errors.RegistryError as e:
            raise errors.BaseImageNotFound(f"base image {name}: {e.message}", hint=e.hint or _HINT) from e
        self.knows(resolved.image.layers, resolved.open)
        return steps.Base(
            name, resolved.manifest_digest, resolved.image, f"{resolved.registry.host}/{resolved.repository}"
        )

    def knows(self, layers: tuple[LayerRef, ...], opener: Opener) -> None:
        """These layers can be read with `opener`."""
        with self._lock:
            self._openers.update({layer.descriptor.digest: opener for layer in layers})

    def bring(self, layer: LayerRef, to: Path) -> None:
        opener = self._openers.get(layer.descriptor.digest)
        if opener is None:
            raise errors.InfrastructureFailed(f"nothing tells where layer {layer.descriptor.digest} is")
        save(lambda: opener(layer.descriptor), layer.descriptor, to)


_HINT = "check the name and tag in FROM; for a private image give credentials (docker login, or spec.pullSecrets)"


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
