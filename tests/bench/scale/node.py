"""What a kubelet says of a builder pod, without one: bound, starting, running, and after a while ended with its result.

Simulated: the node and the work. The digest that push names is really in the registry before the pod says so.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from bench.scale import api, images, objects
from strata_builder import contract, termination
from strata_operator import conditions, names

Body = dict[str, Any]
_NODE = "simulated"
_START = 0.3  # seconds from the binding to running containers


class Node:
    """Runs every pod that the operator has had made, each for about `seconds`. `ended` is told when each had ended."""

    def __init__(self, client: api.Api, made: images.Images, seconds: float) -> None:
        self._api = client
        self._images = made
        self._seconds = seconds
        self.created: dict[str, float] = {}  # ImageBuild -> when its last pod was seen
        self.ended: dict[str, float] = {}
        self.alive = 0
        self.most = 0  # alive at once

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            async for kind, pod in self._api.watch(names.PODS, selector=names.OWNED):
                if kind == "ADDED":
                    self.created[_owner(pod)] = time.time()
                    group.create_task(self._pod(pod))

    async def _pod(self, pod: Body) -> None:
        self.alive += 1
        self.most = max(self.most, self.alive)
        try:
            await self._bind(pod)
            await self._tell(pod, "Pending", {"waiting": {"reason": "ContainerCreating"}})
            await asyncio.sleep(_START)
            began = time.time()
            await self._tell(pod, "Running", {"running": {"startedAt": conditions.rfc3339(began)}})
            await asyncio.sleep(self._seconds * random.uniform(0.75, 1.25))
            await asyncio.to_thread(self._images.push, _owner(pod))
            await self._tell(pod, "Succeeded", {"terminated": _end(began)}, said=self._said(began))
            self.ended[_owner(pod)] = time.time()
        finally:
            self.alive -= 1

    def _said(self, began: float) -> str:
        return termination.message(objects.result(self._images.digest, self._images.size, started=began))

    async def _bind(self, pod: Body) -> None:
        key = names.Key(pod["metadata"]["namespace"], pod["metadata"]["name"])
        target = {"apiVersion": "v1", "kind": "Node", "name": _NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": key.name}, "target": target}
        await self._api.ask("POST", names.PODS.path(*key, "binding"), binding)

    async def _tell(self, pod: Body, phase: str, state: Body, *, said: str = "") -> None:
        now = conditions.rfc3339(time.time())
        statuses = [_container(pod, one["name"], state, said) for one in pod["spec"]["containers"]]
        ready = "True" if phase == "Running" else "False"
        status = {
            "phase": phase,
            "startTime": now,
            "containerStatuses": statuses,
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
                {"type": "Initialized", "status": "True", "lastTransitionTime": now},
                {"type": "Ready", "status": ready, "lastTransitionTime": now},
            ],
        }
        key = names.Key(pod["metadata"]["namespace"], pod["metadata"]["name"])
        await self._api.patch(names.PODS, key, {"status": status}, "status")


def _container(pod: Body, name: str, state: Body, said: str) -> Body:
    if "terminated" in state and name == contract.PUSH:
        state = {"terminated": {**state["terminated"], "message": said}}
    running = "running" in state
    image = next(one["image"] for one in pod["spec"]["containers"] if one["name"] == name)
    return {"name": name, "image": image, "imageID": "", "ready": running, "restartCount": 0, "state": state}


def _end(began: float) -> Body:
    times = {"startedAt": conditions.rfc3339(began), "finishedAt": conditions.rfc3339(time.time())}
    return {"exitCode": 0, "reason": "Completed", **times}


def _owner(pod: Body) -> str:
    """namespace/name of its ImageBuild, which is its repository, too."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['annotations'][names.ANNOTATION_IMAGEBUILD]}"
