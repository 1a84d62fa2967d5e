"""What an external Registry refers to: its certificates and the Secret with its credentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from strata_builder.registry import config, errors
from strata_operator import kube, names, settings
from strata_operator.registry import decide, material, spec, tls, vault


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


async def _bundle(client: kube.Kube, registry: spec.Registry, external: spec.External) -> str:
    reason, key = "CABundleNotFound", "ca.crt"
    if external.ca_config_map:
        body = await client.get(names.CONFIGMAPS, registry.namespace, external.ca_config_map)
        if body is None:
            raise _Missing(reason, f"ConfigMap {external.ca_config_map} does not exist; {_expected(key)}")
        bundle, where = str((body.get("data") or {}).get(key, "")), f"ConfigMap {external.ca_config_map}"
    elif external.ca_secret:
        data = await _secret(client, registry.namespace, external.ca_secret, reason)
        bundle, where = data.get(key, ""), f"Secret {external.ca_secret}"
    else:
        return ""
    try:
        tls.check_bundle(bundle)
    except ValueError as e:
        raise _Missing(reason, f"{where} has no usable certificates: {_expected(key)}") from e
    return bundle


def _expected(key: str) -> str:
    return f"its key {key} must hold certificates in PEM"


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
