"""What is left of an ImageBuild that is gone, where the garbage collector has passed over it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from strata_operator import controller, imagebuild, kube, metrics, names, settings
from strata_operator.imagebuild import orphans
from support import imagebuilds as ib
from support.fake_kube import FakeKube, asked

pytestmark = pytest.mark.asyncio
KEY = names.Key("team", "web")
OLD, NEW = "1d-of-one-that-is-gone", "1d-of-one-that-is-there"
LEFT = (names.JOBS, names.CONFIGMAPS)


class Look:
    """Sweeps of one process, whose clock is moved by hand."""

    def __init__(self, fake: FakeKube, client: kube.Kube) -> None:
        self.fake = fake
        self.now = 0.0
        self.frame = controller.Frame(settings.Settings(namespace="strata-system"), metrics.Metrics(), client)
        for part in imagebuild.controllers(self.frame):
            self.frame.add(part)
        self._orphans = orphans.Orphans(self.frame, clock=lambda: self.now)

    async def read(self) -> None:
        for resource in self.frame.cache.stores:
            await self.frame.cache.refresh(resource, self.frame.kube)

    async def sweep(self, known: str = "") -> float | None:
        return await self._orphans.sweep(KEY, known)

    def made_for(self, uid: str, name: str = "made", **meta: Any) -> None:
        owner = {"apiVersion": names.API_VERSION, "kind": "ImageBuild", "name": "web", "uid": uid, "controller": True}
        labels = {names.LABEL_MANAGED_BY: names.OPERATOR}
        for resource in LEFT:
            body = {"name": name, "namespace": "team", "labels": labels, "ownerReferences": [owner], **meta}
            self.fake.put(resource, {"metadata": body})

    def there(self) -> list[str]:
        return [key.name for resource in LEFT for key in self.fake.objects[resource]]


@contextlib.asynccontextmanager
async def looking(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Look]:
    resources = (names.IMAGEBUILDS, names.REGISTRIES, names.NAMESPACES, names.PODS, names.SECRETS, *LEFT)
    async with asked(tmp_path, monkeypatch, *resources) as (fake, client):
        yield Look(fake, client)


async def test_what_the_garbage_collector_leaves_goes_after_its_time(tmp_path, monkeypatch):
    async with looking(tmp_path, monkeypatch) as look:
        look.made_for(OLD)
        await look.read()
        assert await look.sweep() == orphans.PATIENCE
        look.now = orphans.PATIENCE - 1
        assert (await look.sweep(), look.there()) == (1.0, ["made", "made"])
        look.now = orphans.PATIENCE
        assert (await look.sweep(), look.there()) == (None, [])


async def test_one_that_was_made_anew_under_the_name_keeps_what_is_its_own(tmp_path, monkeypatch):
    async with looking(tmp_path, monkeypatch) as look:
        look.fake.put(names.IMAGEBUILDS, ib.build(uid=NEW))
        look.made_for(OLD)
        look.made_for(NEW, "own")
        await look.read()
        assert await look.sweep(NEW)
        look.now = orphans.PATIENCE
        assert (await look.sweep(NEW), look.there()) == (None, ["own", "own"])


async def test_a_cache_that_is_behind_deletes_nothing(tmp_path, monkeypatch):
    async with looking(tmp_path, monkeypatch) as look:
        look.made_for(NEW)
        await look.read()
        assert await look.sweep()
        look.fake.put(names.IMAGEBUILDS, ib.build(uid=NEW))  # and no watch has told of it yet
        look.now = orphans.PATIENCE
        assert (await look.sweep(), look.there()) == (None, ["made", "made"])


async def test_what_the_garbage_collector_takes_in_time_is_not_asked_for(tmp_path, monkeypatch):
    async with looking(tmp_path, monkeypatch) as look:
        look.made_for(OLD)
        await look.read()
        assert await look.sweep()
        for resource in LEFT:
            look.fake.remove(resource, "team", "made")
        await look.read()
        look.now = orphans.PATIENCE
        asked = len(look.fake.requests)
        assert (await look.sweep(), len(look.fake.requests)) == (None, asked)
        look.made_for(OLD, "later")  # its time begins anew
        await look.read()
        assert await look.sweep() == orphans.PATIENCE


async def test_what_is_going_already_is_left_alone(tmp_path, monkeypatch):
    async with looking(tmp_path, monkeypatch) as look:
        look.made_for(OLD, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["foregroundDeletion"])
        await look.read()
        assert await look.sweep()
        look.now = orphans.PATIENCE
        assert (await look.sweep(), look.there()) == (None, ["made", "made"])


async def test_what_somebody_else_owns_too_is_left_alone(tmp_path, monkeypatch):
    async with looking(tmp_path, monkeypatch) as look:
        owners = [
            {"apiVersion": names.API_VERSION, "kind": "ImageBuild", "name": name, "uid": name}
            for name in ("web", "other")
        ]
        look.made_for(OLD, ownerReferences=owners)
        await look.read()
        assert await look.sweep()
        look.now = orphans.PATIENCE
        assert (await look.sweep(), look.there()) == (None, ["made", "made"])
