"""Where a base image is to be looked for on behalf of a namespace: as its builder pods do, with what they log in with.

Mirrors come first, then the host of the name itself. The hosts of managed Registries that admit the namespace, and of the
one that the image goes to, are reached as those say; of all other Registries nothing is believed, for their owners could
have credentials of others sent in the clear. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.registry import config, mirrors
from strata_operator import certificates, settings
from strata_operator.imagebuild.triggers.baselook import Place, Source
from strata_operator.registry import view


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a namespace's builds find around them: `target` is the Registry that the image goes to, `managed` are those of
    Strata's own that the namespace may use; `authorities` (PEM) are the chart's."""

    options: settings.Settings
    target: view.View
    managed: Sequence[view.View]
    logins: config.DockerConfig = field(repr=False)
    authorities: str = field(default="", repr=False)


def hosts(reference: Reference, target: view.View, options: settings.Settings) -> list[str]:
    """Every host[:port] that is asked for `reference`."""
    return [*(endpoint.host for endpoint, _ in _mirrors(reference, target, options)), reference.host]


def place(reference: Reference, around: Surroundings) -> Place:
    """Where to look. Raises errors.InvalidSpec for a mirror that is no URL."""
    found = [
        _source(endpoint.host, endpoint.repository(reference.repository), around, endpoint.insecure, trusted)
        for endpoint, trusted in _mirrors(reference, around.target, around.options)
    ]
    upstream = _source(reference.host, reference.repository, around, insecure=False, trusted=False)
    return Place(reference, Platform.parse(around.options.platform), (*found, upstream))


def _mirrors(
    reference: Reference, target: view.View, options: settings.Settings
) -> Iterable[tuple[mirrors.Endpoint, bool]]:
    """In the order in which a builder asks. Those of the chart are an administrator's word, a Registry's its owner's."""
    own = mirrors.Mirrors.parse((mirror.upstream, mirror.endpoint) for mirror in target.mirrors)
    chart = mirrors.Mirrors.parse(sorted(options.mirrors.items()))
    yield from ((endpoint, False) for endpoint in own.of(reference.host))
    yield from ((endpoint, True) for endpoint in chart.of(reference.host))


def _source(host: str, repository: str, around: Surroundings, insecure: bool, trusted: bool) -> Source:
    registry = next((one for one in (*around.managed, around.target) if host in (one.push, one.external)), None)
    plain = insecure or host in around.options.insecure_registries
    return Source(
        host=host,
        repository=repository,
        insecure=plain or (registry is not None and registry.insecure),
        trusted=trusted or (registry is not None and registry.registry.managed is not None and host == registry.push),
        ca=certificates.joined(registry.ca_bundle if registry else "", around.authorities),
        credential=around.logins.lookup(host, repository),
    )
