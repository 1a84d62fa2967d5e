"""A node without a kubelet: says of builder pods what one would, and has the image in the registry before it does.

What the pod of an ImageBuild comes to is for the test to choose by name: it ends well at once unless it is held or fails.
"""

from __future__ import annotations

import collections
import concurrent.futures
import threading
import time
from typing import Any, Self

from strata_builder import contract, termination
from strata_builder.oci.image import History, Image
from strata_builder.oci.platform import Platform
from strata_builder.registry import client, push
from strata_operator import conditions, names
from support import controlplane

Body = dict[str, Any]
_AMD64 = Platform.parse("linux/amd64")


class Node:
    """Enter it to have it play. `built` counts the pods that ended well, by namespace and ImageBuild."""

    def __init__(self, plane: controlplane.ControlPlane, registry: str) -> None:
        self.holds: set[str] = set()
        self.fails: set[str] = set()
        self.built: collections.Counter[tuple[str, str]] = collections.Counter()
        self._plane = plane
        self._registry = registry
        self._said: set[tuple[str, str]] = set()
        self._stop = threading.Event()
        self._thread = concurrent.futures.ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self._playing = self._thread.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.shutdown()
        self._playing.result()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            for pod in self._plane.ask("GET", f"/api/v1/pods?labelSelector={names.OWNED}")["items"]:
                self._look(pod)

    def _look(self, pod: Body) -> None:
        meta = pod["metadata"]
        name = (meta.get("annotations") or {}).get(names.ANNOTATION_IMAGEBUILD)
        if name is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return
        if meta.get("deletionTimestamp"):
            self._once(pod, "gone", self._let_go)
        elif name in self.holds:
            self._once(pod, "running", lambda pod: self._tell(pod, "Running", {"running": _started()}))
        elif name in self.fails:
            self._once(pod, "ended", self._fail)
        else:
            self._once(pod, "ended", self._build)

    def _once(self, pod: Body, what: str, do: Any) -> None:
        key = (pod["metadata"]["uid"], what)
        if key not in self._said:
            do(pod)
            self._said.add(key)

    def _build(self, pod: Body) -> None:
        meta = pod["metadata"]
        request = self._request(pod)
        if request is None:
            return
        image = Image.scratch(_AMD64).append(
            None, History(created_by=f"inputs {meta['annotations'][names.ANNOTATION_INPUTS]}")
        )
        registry = client.Registry(self._registry, insecure=True)
        try:
            pushed = push.push_image(registry, request.output.repository, image, lambda _: None)
        finally:
            registry.close()
        made = contract.PlatformResult("linux/amd64", pushed.digest, len(image.manifest_bytes()))
        self.built[meta["namespace"], meta["annotations"][names.ANNOTATION_IMAGEBUILD]] += 1
        self._end(pod, "Succeeded", termination.message(contract.BuildResult((made,))))

    def _fail(self, pod: Body) -> None:
        self._end(
            pod, "Failed", termination.message(contract.Failure("RunFailed", "the step ended with code 7", line=2))
        )

    def _request(self, pod: Body) -> contract.BuildRequest | None:
        meta = pod["metadata"]
        wanted = meta["annotations"].get(names.ANNOTATION_CONFIG_MAPS, "")
        names_ = [v["configMap"]["name"] for v in pod["spec"]["volumes"] if "configMap" in v] + wanted.split(",")
        for name in dict.fromkeys(filter(None, names_)):
            try:
                body = self._plane.ask("GET", names.CONFIGMAPS.path(meta["namespace"], name))
            except RuntimeError:
                continue  # it may be gone with its ImageBuild
            if "request.json" in (body.get("data") or {}):
                return contract.decode_request(body["data"]["request.json"])
        return None

    def _end(self, pod: Body, phase: str, said: str) -> None:
        code = 0 if phase == "Succeeded" else int(contract.ExitCode.RUN_FAILED)
        times = {"startedAt": conditions.rfc3339(time.time()), "finishedAt": conditions.rfc3339(time.time())}
        self._tell(pod, phase, {"terminated": {"exitCode": code, "reason": "Completed", **times}}, said)

    def _tell(self, pod: Body, phase: str, state: Body, said: str = "") -> None:
        statuses = [_container(one, state, said) for one in pod["spec"]["containers"]]
        status = {"phase": phase, "startTime": conditions.rfc3339(time.time()), "containerStatuses": statuses}
        self._change(pod, "PATCH", "/status", {"status": status})

    def _let_go(self, pod: Body) -> None:
        """The last word of a kubelet about a pod that is to end."""
        self._change(pod, "DELETE", "", {"gracePeriodSeconds": 0})

    def _change(self, pod: Body, method: str, subresource: str, body: Body) -> None:
        path = names.PODS.path(pod["metadata"]["namespace"], pod["metadata"]["name"]) + subresource
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            self._plane.ask(method, path, body, content=content)
        except RuntimeError as e:
            if " 404 " not in str(e):  # gone meanwhile
                raise


def _started() -> Body:
    return {"startedAt": conditions.rfc3339(time.time())}


def _container(container: Body, state: Body, said: str) -> Body:
    if "terminated" in state and container["name"] == contract.PUSH:
        state = {"terminated": {**state["terminated"], "message": said}}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }
