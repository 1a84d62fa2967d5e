"""A receiver of webhooks on a real socket, before an API server with ImageBuilds, a Registry and their Secrets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from strata_operator import cache, controller, kube, kubesession, metrics, names, settings
from strata_operator.webhooks import forward, listener, receiver
from support import imagebuilds as ib
from support.fake_kube import FakeKube

TOKEN = "a-token-of-the-tests"
REGISTRY_TOKEN = "a-token-of-the-registry"
GIT = {"url": "https://git.example/app.git", "revision": "main"}
RESOURCES = (names.IMAGEBUILDS, names.REGISTRIES, names.SECRETS, names.PODS)


def secret(name: str, namespace: str = "team", **data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"name": name, "namespace": namespace}, "data": encoded}


def build(name: str = "web", **spec: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"source": {"git": GIT}, "triggers": {"webhook": {"secretRef": {"name": "hook"}}}} | spec
    body = ib.build(name, uid=f"uid-{name}", **given)
    del body["metadata"]["resourceVersion"]
    return body


def signed(body: bytes, token: str = TOKEN) -> dict[str, str]:
    """The headers of a push from GitHub."""
    digest = hmac.new(token.encode(), body, hashlib.sha256).hexdigest()
    return {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={digest}"}


class Receiver:
    """One operator's, with what it was told. `acts` and `holder` may be changed."""

    def __init__(self, fake: FakeKube, client: kube.Kube, listen: str, options: dict[str, Any]) -> None:
        self.fake = fake
        chosen = settings.Settings(namespace="strata-system", webhook_listen=listen, **options)
        self.frame = controller.Frame(chosen, metrics.Metrics(), client)
        for resource in (names.IMAGEBUILDS, names.REGISTRIES):
            self.frame.cache.add(cache.Store(resource))
        self.sources: list[names.Key] = []
        self.bases: list[tuple[str, str, str]] = []
        self.frame.hints.source = lambda body: self.sources.append(kube.place(body))
        self.frame.hints.base = self._base
        self.acts = True
        self.holder = ""
        self.port = 0
        self.forwarder = forward.Forwarder(client, "strata-system", lambda: self.holder, lambda: self.port)
        self.roles = receiver.Roles(acts=lambda: self.acts, forwarder=self.forwarder)
        self.receiver = receiver.Receiver(self.frame, self.roles)
        self.listener = listener.Listener(self.receiver.application(), listen, connections=32)

    def _base(self, host: str, repository: str, tag: str) -> int:
        self.bases.append((host, repository, tag))
        return 1

    @property
    def url(self) -> str:
        return f"http://{self.listener.address}"

    def counted(self, kind: str = "imagebuild") -> dict[str, int]:
        """Deliveries by result."""
        (family,) = self.frame.metrics.webhooks.collect()
        found = [s for s in family.samples if s.name.endswith("_total") and s.labels["kind"] == kind]
        return {s.labels["result"]: int(s.value) for s in found}

    async def deliver(
        self, path: str, body: Any = b"{}", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], dict[str, str]]:
        """Status, JSON and headers of the answer."""
        given = signed(body) if headers is None else headers
        sent = io.BytesIO(body) if isinstance(body, bytes) else body  # aiohttp warns of large ones as they are
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, data=sent, headers=given, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.json(content_type=None), dict(answer.headers)


@contextlib.asynccontextmanager
async def receiving(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    listen: str = "127.0.0.1:0",
    fake: FakeKube | None = None,
    **options: Any,
) -> AsyncIterator[Receiver]:
    """A receiver before `fake`, or an API server of its own with ImageBuild web, Secret hook and Registry main."""
    monkeypatch.setattr(receiver, "REFUSAL_SECONDS", 0.05)
    with contextlib.ExitStack() as stack:
        if fake is None:
            fake = FakeKube(*RESOURCES)
            monkeypatch.setenv("KUBECONFIG", str(stack.enter_context(fake.serving(tmp_path))))
            fake.put(names.IMAGEBUILDS, build())
            fake.put(names.SECRETS, secret("hook", token=f"{TOKEN}\n"))
            fake.put(names.REGISTRIES, ib.registry())
            fake.put(names.SECRETS, secret("strata-registry", **{"main.notify-token": REGISTRY_TOKEN}))
        client = kube.Kube(await kubesession.connect(metrics.Metrics()))
        here = Receiver(fake, client, listen, options)
        try:
            await refresh(here)
            await here.listener.start()
            yield here
        finally:
            await here.listener.close()
            await here.forwarder.close()
            await client.close()


async def refresh(here: Receiver) -> None:
    for resource in here.frame.cache.stores:
        await here.frame.cache.refresh(resource, here.frame.kube)
