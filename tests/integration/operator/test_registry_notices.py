"""A real registry tells a receiver of what is pushed to it, as a managed one is made to."""

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from strata_builder.oci import descriptor
from strata_builder.registry import client
from strata_operator import names, settings
from strata_operator.registry import notices, spec
from support import hooking, registries, registry_process
from support.hooking import REGISTRY_TOKEN, receiving

BINARY = registry_process.find_binary()
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(BINARY is None, reason="the registry is nowhere; `make cluster-up` builds it"),
]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def environment(address: str, token: str = REGISTRY_TOKEN) -> dict[str, str]:
    """What the kubelet makes of the container's variables; the Service's name stands for `address`."""
    host, _, port = address.rpartition(":")
    options = settings.Settings(
        namespace="strata-system", webhook_listen=f"0.0.0.0:{port}", registry_notifications=True
    )
    found: dict[str, str] = {}
    for variable in notices.environment(spec.parse(registries.managed()), options):
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if reference:
            assert reference == {"name": names.SECRET_REGISTRY, "key": "main.notify-token"}
        value = variable.get("value", token).replace("strata-operator-webhooks.strata-system.svc.cluster.local", host)
        for name, known in found.items():
            value = value.replace(f"$({name})", known)
        found[variable["name"]] = value
    return found


def push(host: str, *versions: str) -> None:
    """An image of one empty config under tags, or under its digest for `digest`."""
    registry = client.Registry(host, insecure=True)
    config = b"{}"
    blob = descriptor.Descriptor("application/vnd.oci.image.config.v1+json", _digest(config), len(config))
    registry.upload_blob("team/base", blob, lambda: io.BytesIO(config))
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob_of(blob), "layers": []}
    data = json.dumps(document).encode()
    for version in versions:
        registry.put_manifest("team/base", _digest(data) if version == "digest" else version, data, MANIFEST)
        registry.manifest("team/base", _digest(data))
    registry.close()


def blob_of(blob: descriptor.Descriptor) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  the condition is anybody's
            await asyncio.sleep(0.02)


async def test_a_tag_that_is_pushed_is_told_and_nothing_else_and_the_token_stays_out_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BINARY
    async with receiving(tmp_path, monkeypatch) as here:
        with registry_process.RegistryProcess(BINARY, environment=environment(here.listener.address)) as server:
            await asyncio.to_thread(push, server.host, "digest", "1", "2")
            await until(lambda: len(here.bases) >= 4)
            assert {base[1:] for base in here.bases} == {("team/base", "1"), ("team/base", "2")}
            assert here.counted("registry").keys() == {"ignored"}  # one that was taken is a 200
            assert here.counted("registry")["ignored"] == 3  # a manifest by digest, two by tag; no blob, no pull
            assert REGISTRY_TOKEN not in server.log


async def test_what_could_not_be_told_is_told_when_somebody_listens_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BINARY
    async with receiving(tmp_path, monkeypatch) as here:
        there = environment(here.listener.address)
        there["REGISTRY_NOTIFICATIONS_ENDPOINTS"] = there["REGISTRY_NOTIFICATIONS_ENDPOINTS"].replace('"15s"', '"1s"')
        here.acts = False  # answered with 503
        with registry_process.RegistryProcess(BINARY, environment=there) as server:
            await asyncio.to_thread(push, server.host, "1")
            await until(lambda: here.counted("registry").get("unavailable"))
            here.acts = True
            await until(lambda: here.bases)


async def test_a_stranger_s_registry_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BINARY
    async with receiving(tmp_path, monkeypatch) as here:
        there = environment(here.listener.address, "guessed")
        with registry_process.RegistryProcess(BINARY, environment=there) as server:
            await asyncio.to_thread(push, server.host, "1")
            await until(lambda: here.counted("registry").get("refused"))
            assert here.bases == []
            assert hooking.REGISTRY_TOKEN not in server.log
