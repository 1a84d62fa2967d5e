"""What a caller may ask of a build, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from strata_builder.context.tree import Tree
from strata_builder.engine.contexts import NamedContext
from strata_builder.frozen import field, frozen
from strata_builder.oci.platform import Platform

#: Build arguments that every RUN sees without an ARG, and that enter neither keys nor history.
PROXY_ARGS = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)


@frozen
class Options:
    """One build of one platform. With `platform_of_base` nobody asked for the platform, and the image is for the one that
    its base is for (`FROM --platform=...`). `secrets` maps ids to their contents, which are in no key and in no log;
    `ssh` maps ids to sockets of agents on this machine; `contexts` are found by `contexts.key`.

    `context_time` is when the context last changed, if anything tells that (see `epochs`).
    `created` is the Unix time that the image and its history carry (the commit's time); `source_date_epoch`, where
    given, replaces it and every derived time (https://reproducible-builds.org/specs/source-date-epoch/).
    """

    context: Tree
    platform: Platform
    build_platform: Platform
    platform_of_base: bool = False
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    ssh: Mapping[str, Path] = field(default_factory=dict)
    context_time: int | None = None
    source_date_epoch: int | None = None
    created: int | None = None
    no_cache: bool = False
    runs: bool = True
    network: str = "default"
    compression: str = "gzip"
