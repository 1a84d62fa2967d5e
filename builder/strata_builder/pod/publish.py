"""A finished image into its repository, by digest only: what is there or can be mounted does not move."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import BinaryIO, Final

from strata_builder import errors
from strata_builder.engine import steps
from strata_builder.frozen import frozen
from strata_builder.oci.image import Descriptor, Image, LayerRef
from strata_builder.registry import errors as registry_errors
from strata_builder.registry import push
from strata_builder.registry.client import Registry

_WORKERS: Final = 4


@frozen
class Pushed:
    """The manifest as the registry has it; `found` tells that it had it before."""

    descriptor: Descriptor
    found: bool


def image(
    registry: Registry,
    repository: str,
    made: Image,
    *,
    at_hand: Callable[[LayerRef], Path | None],
    bring: Callable[[LayerRef], Path],
    mount_from: Mapping[str, str],
    present: Container[str] = (),
    version: str = "",
) -> Pushed:
    """Pushes `made` by its digest, or as the tag `version`; one that is there already costs no more than that.

    `at_hand` tells where a layer's blob lies here, if it does; `bring` fetches one, asked only for what the registry
    lacks and cannot mount. Of the digests in `present` the repository is believed to have the blob until the manifest's
    PUT says otherwise. Raises PushDenied, BlobsUnknown, RegistryUnavailable.
    """
    with denied(registry.host, repository):
        if _is_there(registry, repository, made.digest):
            try:
                data, kind = made.manifest_bytes(), made.manifest.media_type
                return Pushed(push.put(registry, repository, version or made.digest, data, kind), True)
            except registry_errors.BlobsUnknown:
                present = ()  # the registry has lost some of it: each blob is asked for
        paths = {layer.descriptor.digest: at_hand(layer) for layer in made.layers}

        def opener(wanted: Descriptor) -> Callable[[], BinaryIO] | None:
            path = paths.get(wanted.digest)
            return None if path is None else lambda: path.open("rb")

        push_image = functools.partial(push.push_image, registry, repository, made, opener, version=version)
        try:
            sent = push_image(mount_from=mount_from, present=present)
        except registry_errors.BlobsUnknown as e:
            lost = {d: layer for layer in made.layers if (d := layer.descriptor.digest) in e.digests or not e.digests}
            paths |= _brought(lost, bring)
            sent = push_image(present=paths.keys() - lost.keys())
        return Pushed(sent, False)


def _brought(lost: Mapping[str, LayerRef], bring: Callable[[LayerRef], Path]) -> dict[str, Path]:
    with futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="layer") as pool:
        return dict(zip(lost, pool.map(bring, lost.values()), strict=True))


def _is_there(registry: Registry, repository: str, digest: str) -> bool:
    """Where the question is refused, the push will say why."""
    try:
        return registry.head_manifest(repository, digest) is not None
    except (registry_errors.Unauthorized, registry_errors.Denied):
        return False


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
    """Turns a registry's refusal of our credentials, or of a repository that it does not have, into PushDenied."""
    try:
        yield
    except (registry_errors.Unauthorized, registry_errors.Denied) as e:
        raise errors.PushDenied(f"cannot push to {host}/{repository}: {e.message}", hint=e.hint) from e
    except registry_errors.NotFound as e:
        if e.method not in registry_errors.WRITES:
            raise  # of something that was to be read
        hint = f"create the repository {repository} at {host}, which makes none by itself, or check its name"
        raise errors.PushDenied(f"cannot push to {host}/{repository}: {e.message}", hint=hint) from e
    except registry_errors.TlsFailed as e:
        raise errors.RegistryUnavailable(f"cannot push to {host}/{repository}: {e.message}", hint=e.hint) from e
