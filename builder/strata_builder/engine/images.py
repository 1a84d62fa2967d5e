"""Base images from registries, OCI layouts and archives; and the provider that brings their layers."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from strata_builder import errors
from strata_builder.engine import steps
from strata_builder.layers import storage
from strata_builder.oci import errors as oci_errors
from strata_builder.oci import reference
from strata_builder.oci.image import Descriptor, LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.registry import errors as registry_errors
from strata_builder.registry import pull, registries

Opener = Callable[[Descriptor], BinaryIO]
_Made = TypeVar("_Made")


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
        opener = self._opener(layer)
        with self._told_of(layer):
            _twice(lambda: save(lambda: opener(layer.descriptor), layer.descriptor, to))

    def read(self, layer: LayerRef, make: Callable[[BinaryIO], _Made]) -> _Made:
        """Raises as `bring` does, and what `make` raises of bytes that are as the digest says."""
        opener = self._opener(layer)
        with self._told_of(layer):
            return _twice(lambda: _made(lambda: opener(layer.descriptor), make))

    def _opener(self, layer: LayerRef) -> Opener:
        opener = self._openers.get(layer.descriptor.digest)
        if opener is None:
            raise errors.InfrastructureFailed(f"nothing tells where layer {layer.descriptor.digest} is")
        return opener

    @contextlib.contextmanager
    def _told_of(self, layer: LayerRef) -> Iterator[None]:
        """Failures name the base."""
        label = next(filter(None, (base.layer(layer.descriptor.digest) for base in self._bases)), "")
        try:
            yield
        except registry_errors.NotFound as e:
            if not label:
                raise
            hint = f"the image is incomplete: push all of it to {e.host} again, or use another one"
            raise errors.BaseImageNotFound(f"{label}: {e.message}", hint=hint) from e
        except errors.LayerInvalid:
            raise  # its bytes are as they should be, and who works on the step names the base
        except errors.BuildError as e:
            e.message = f"{label}: {e.message}" if label else e.message
            raise


_HINT = "check the name and tag in FROM; for a private image give credentials (docker login, or spec.pullSecrets)"
DAMAGED = "use another tag or digest of the image, or build and push it again"


def _twice(read: Callable[[], _Made]) -> _Made:
    """Reads once more where the bytes are wrong: if they are so in the same way, no repetition helps."""
    try:
        return read()
    except oci_errors.DigestMismatch as first:
        try:
            return read()
        except oci_errors.DigestMismatch as again:
            if again.message != first.message:
                raise
            raise errors.LayerError(again.message, hint=again.hint) from again


def _made(opener: Callable[[], BinaryIO], make: Callable[[BinaryIO], _Made]) -> _Made:
    """Of bytes that are not what the digest says, that alone is told: whatever else is wrong comes from it."""
    with opener() as blob:
        try:
            made = make(blob)
        except errors.LayerError:
            _drain(blob)
            raise
        _drain(blob)
        return made


def _drain(blob: BinaryIO) -> None:
    while blob.read(1 << 20):
        """What is left belongs to the digest, too."""


def save(opener: Callable[[], BinaryIO], descriptor: Descriptor, to: Path) -> None:
    """What `opener` gives as the file `to`, there only when whole. Its reader verifies digest and size."""
    handle, name = tempfile.mkstemp(dir=to.parent, prefix=".partial-")
    partial = Path(name)
    try:
        with storage.full_is_a_limit(to.parent), open(handle, "wb") as out, opener() as blob:
            shutil.copyfileobj(blob, out, 1 << 20)
        if partial.stat().st_size != descriptor.size:
            raise errors.RegistryUnavailable(f"blob {descriptor.digest} ended early")
        partial.chmod(0o644)
        partial.rename(to)
    except OSError as e:
        raise errors.InfrastructureFailed(f"cannot store blob {descriptor.digest} at {to.parent}: {e.strerror}") from e
    finally:
        partial.unlink(missing_ok=True)
