"""The registries that a role talks to, with the credentials that its container has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from strata_builder import contract
from strata_builder.pod.paths import Paths
from strata_builder.registry import connect, mirrors, proxies, retry
from strata_builder.registry.config import DockerConfig
from strata_builder.registry.registries import Registries, Settings

_KEY: Final = ".dockerconfigjson"


def registries(
    request: contract.BuildRequest,
    paths: Paths,
    *,
    timeouts: connect.Timeouts | None = None,
    policy: retry.Policy | None = None,
) -> Registries:
    """With all credentials that are mounted here. Raises CredentialsInvalid."""
    target = (request.output.registry,) if request.output.insecure else ()
    return Registries(
        Settings(
            credentials=_credentials(request.output, paths),
            ca=ca_bundle(paths) or None,
            insecure=frozenset((*request.insecure_registries, *target)),
            mirrors=mirrors.Mirrors.parse((mirror.upstream, mirror.endpoint) for mirror in request.mirrors),
            proxies=proxies.Proxies.from_env(os.environ),
            timeouts=timeouts or connect.Timeouts(),
            policy=policy or retry.Policy(),
        )
    )


def ca_bundle(paths: Paths) -> bytes:
    path = paths.at(contract.CA_BUNDLE)
    return path.read_bytes() if path.exists() else b""


def _credentials(output: contract.Output, paths: Paths) -> DockerConfig:
    """The repository that is written to is the Registry's own login's; anywhere else the spec's Secrets come first."""
    push, pull = paths.at(contract.PUSH_CREDENTIALS), paths.at(contract.PULL_CREDENTIALS)
    own = pull / contract.OWN_LOGIN
    given = sorted(folder for folder in pull.iterdir() if folder != own) if pull.is_dir() else []
    login = DockerConfig.load(_configs(push, own)).lookup(output.registry, output.repository)
    found = DockerConfig.load(_configs(*given, own, push))
    return found.with_login(output.registry, output.repository, login) if login else found


def _configs(*folders: Path) -> list[Path]:
    return [folder / _KEY for folder in folders if (folder / _KEY).exists()]
