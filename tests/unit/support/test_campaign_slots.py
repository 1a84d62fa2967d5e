"""A slot of a campaign asks for what it says that it has asked for, and goes on where something is lost."""

from __future__ import annotations

import collections
import itertools
from typing import Any

import pytest

from support.campaign import api, asking, driving, watching, wishes


class World:
    """An API server and an operator that has built at once what is applied, save what is in `never`."""

    def __init__(self, never: frozenset[str] = frozenset()) -> None:
        self.bodies: dict[str, api.Body] = {}
        self.applied: collections.Counter[str] = collections.Counter()
        self.failed: BaseException | None = None
        self.looked = 0.0
        self._never = never
        self._uids = itertools.count()

    def apply(self, _plural: str, body: api.Body) -> None:
        name = body["metadata"]["name"]
        self.applied[name] += 1
        old = self.bodies.get(name, {"metadata": {"uid": str(next(self._uids)), "generation": 0}, "status": {}})
        generation = old["metadata"]["generation"] + (old.get("spec") != body["spec"])
        meta = {**body["metadata"], "uid": old["metadata"]["uid"], "generation": generation}
        self.bodies[name] = {**body, "metadata": meta, "status": old["status"]}
        if name not in self._never:
            self.bodies[name]["status"] = _built(self.bodies[name])

    def get(self, _plural: str, name: str) -> api.Body | None:
        return self.bodies.get(name)

    def delete(self, _plural: str, name: str) -> None:
        del self.bodies[name]


def _built(body: api.Body) -> dict[str, Any]:
    generation, number = body["metadata"]["generation"], body["status"].get("current", {}).get("number", 0) + 1
    ready = {"type": "Ready", "status": "True", "observedGeneration": generation}
    token = body["metadata"]["annotations"].get("strata.build/rebuild", "")
    return {
        "observedGeneration": generation,
        "conditions": [ready],
        "current": {"number": number, "phase": "Succeeded"},
        "lastSuccess": {"number": number},
        "lastHandledRebuild": token,
        "digest": f"of {body['spec']}",
    }


def lived(builds: int, world: World, monkeypatch: pytest.MonkeyPatch) -> driving.Slot:
    monkeypatch.setattr(driving.time, "sleep", lambda _seconds: None)  # type: ignore[attr-defined]
    seen: watching.Recorder = world  # type: ignore[assignment]
    slot = driving.Slot(0, 7, driving.Budget(builds), world, seen, "git://none")  # type: ignore[arg-type]
    slot.work()
    return slot


def test_every_way_of_asking_is_used_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    slot = lived(200, world, monkeypatch)
    asked = {way: count for way, count in slot.asked.items() if way != "not waited for"}
    assert all(asked.values())
    assert sum(asked.values()) == sum(world.applied.values()) == 200
    assert slot.final.keys() == world.bodies.keys()
    assert all(wishes.settled(world.bodies[name], wish) for name, wish in slot.final.items())
    assert not slot.lost
    assert all(one.ended is not None for one in slot.askings)
    assert len(slot.askings) == len(slot.had)


def test_what_does_not_come_about_is_lost_and_the_slot_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.01)
    slot = lived(100, World(never=frozenset({"b0-1", "b0-3"})), monkeypatch)
    assert [name for name, _ in slot.lost] == ["b0-1", "b0-3"]
    assert {one.name for one in slot.askings if one.ended is None} == {"b0-1", "b0-3"}
    assert sum(slot.asked[way] for way in ("created", "edited", "rebuilt", "deleted")) == 100
