"""What an external Registry refers to: its certificates and the Secret with its credentials."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from strata_builder.registry import config, errors
from strata_operator import certificates, kube, names, settings
from strata_operator.registry import decide, material, spec, vault

_CA_KEY: Final = "ca.crt"
_EXPECTED: Final = f"its key {_CA_KEY} must hold certificates in PEM"
_BUNDLE_LIMIT: Final = 65536  # of status.caBundle


@dataclass(frozen=True, slots=True)
class References:
    """What was read; `problem` says why the rest is missing."""

    ca_bundle: str = ""
    credential: config.Credential | None = field(default=None, repr=False)
    problem: decide.Problem | None = None


async def read(client: kube.Kube, registry: spec.Registry, options: settings.Settings) -> References:
    """Follow the references of an external Registry. Raises KubeError only where a repetition may help."""
    external = registry.external
    if external is None:
        raise ValueError(f"Registry {registry.key} is not external")
    try:
        bundle = await _bundle(client, registry, external)
        if not external.credentials_secret:
            return References(bundle)
        data = await _secret(client, registry.namespace, external.credentials_secret, "CredentialsNotFound")
        return References(bundle, _credential(data, external))
    except _Missing as e:
        return References(problem=e.problem)
    except kube.Forbidden:
        return References(problem=_not_readable(registry, options))


class _Missing(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.problem = decide.Problem(reason, message)


def _no_bundle(text: str) -> _Missing:
    return _Missing("CABundleNotFound", text)


async def _bundle(client: kube.Kube, registry: spec.Registry, external: spec.External) -> str:
    if external.ca_config_map:
        body = await client.get(names.CONFIGMAPS, registry.namespace, external.ca_config_map)
        where = f"ConfigMap {external.ca_config_map}"
    elif external.ca_secret:
        body = await client.get(names.SECRETS, registry.namespace, external.ca_secret)
        where = f"Secret {external.ca_secret}"
    else:
        return ""
    if body is None:
        raise _no_bundle(f"{where} does not exist in namespace {registry.namespace}; {_EXPECTED}")
    try:
        bundle = certificates.only(_bytes(body, _CA_KEY))
    except ValueError as e:
        raise _no_bundle(f"{where} has no usable certificates: {e}; {_EXPECTED}") from e
    if len(bundle) > _BUNDLE_LIMIT:
        text = f"{where} holds {len(bundle)} bytes of certificates, {_BUNDLE_LIMIT} are the most; leave only those that sign"
        raise _no_bundle(f"{text} {external.host}'s")
    return bundle


def _bytes(body: kube.Object, key: str) -> bytes:
    """A value of a ConfigMap or Secret; kubectl puts what is not UTF-8 into a ConfigMap's binaryData."""
    if body.get("kind") == names.CONFIGMAPS.kind and key in (body.get("data") or {}):
        return str(body["data"][key]).encode()
    encoded = ((body.get("data") or {}) | (body.get("binaryData") or {})).get(key, "")
    return base64.b64decode(encoded)


async def _secret(client: kube.Kube, namespace: str, name: str, reason: str) -> dict[str, str]:
    body = await client.get(names.SECRETS, namespace, name)
    if body is None:
        raise _Missing(reason, f"Secret {name} does not exist in namespace {namespace}")
    return material.decode(body)


def _credential(data: Mapping[str, str], external: spec.External) -> config.Credential:
    if data.get("username") and data.get("password"):
        return config.Credential(data["username"], data["password"])
    text = data.get(vault.DOCKER_CONFIG_KEY, "")
    try:
        found = config.DockerConfig.load([text.encode()]).lookup(external.host) if text else None
    except errors.CredentialsInvalid as e:
        raise _Missing("CredentialsNotFound", f"Secret {external.credentials_secret}: {e.message}") from e
    if found is None or not found.username:
        raise _Missing(
            "CredentialsNotFound",
            f"Secret {external.credentials_secret} has neither username and password nor a {vault.DOCKER_CONFIG_KEY} "
            f"with a login for {external.host}",
        )
    return found


def _not_readable(registry: spec.Registry, options: settings.Settings) -> decide.Problem:
    command = (
        f"kubectl create rolebinding {names.SECRET_READER} --namespace {registry.namespace} "
        f"--clusterrole {names.SECRET_READER} --serviceaccount {options.namespace}:{options.service_account}"
    )
    return decide.Problem(
        "CredentialsNotReadable",
        f"namespace {registry.namespace} does not let the operator read its Secrets; to let it: {command}",
    )
