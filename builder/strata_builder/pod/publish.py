"""A finished image into its repository, by digest only: what is there or can be mounted does not move."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import BinaryIO, Final

from strata_builder import errors
from strata_builder.engine import steps
from strata_builder.oci.image import Descriptor, Image, LayerRef
from strata_builder.registry import errors as registry_errors
from strata_builder.registry import push
from strata_builder.registry.client import Registry

_WORKERS: Final = 8


def image(
    registry: Registry,
    repository: str,
    made: Image,
    *,
    at_hand: Callable[[LayerRef], Path | None],
    bring: Callable[[LayerRef], Path],
    mount_from: Mapping[str, str],
) -> Descriptor:
    """Pushes `made` and gives its manifest's descriptor as the registry has it.

    `at_hand` tells where a layer's blob lies here, if it does; `bring` fetches one, asked only for what the registry
    lacks and cannot mount. Raises PushDenied, BlobsUnknown, RegistryUnavailable.
    """
    with denied(registry.host, repository):
        layers = tuple({layer.descriptor.digest: layer for layer in made.layers}.values())
        with futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="layer") as pool:
            found = pool.map(lambda layer: _place(registry, repository, layer, at_hand, bring, mount_from), layers)
            places = {layer.descriptor.digest: path for layer, path in zip(layers, found, strict=True)}

        def opener(wanted: Descriptor) -> Callable[[], BinaryIO] | None:
            path = places.get(wanted.digest)
            return None if path is None else lambda: path.open("rb")

        return push.push_image(registry, repository, made, opener, mount_from=mount_from)


def mounts(registry: str, bases: Sequence[steps.Base]) -> dict[str, str]:
    """For base layers that `registry` has in another repository: digest -> that repository."""
    return {
        layer.descriptor.digest: base.origin.partition("/")[2]
        for base in bases
        if base.origin.partition("/")[0] == registry
        for layer in base.image.layers
    }


@contextlib.contextmanager
def denied(host: str, repository: str) -> Iterator[None]:
    """Turns a registry's refusal of our credentials into PushDenied."""
    try:
        yield
    except (registry_errors.Unauthorized, registry_errors.Denied) as e:
        raise errors.PushDenied(f"cannot push to {host}/{repository}: {e.message}", hint=e.hint) from e
    except registry_errors.TlsFailed as e:
        raise errors.RegistryUnavailable(f"cannot push to {host}/{repository}: {e.message}", hint=e.hint) from e


def _place(
    registry: Registry,
    repository: str,
    layer: LayerRef,
    at_hand: Callable[[LayerRef], Path | None],
    bring: Callable[[LayerRef], Path],
    mount_from: Mapping[str, str],
) -> Path | None:
    if (path := at_hand(layer)) is not None:
        return path
    digest, size = layer.descriptor.digest, layer.descriptor.size
    if registry.has_blob(repository, digest, size):
        return None
    if digest in mount_from and registry.mount_blob(repository, digest, mount_from[digest]):
        return None
    return bring(layer)
