"""`examples/hello` from nothing to an answer, told as it happens: `python -m hack.demo`."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

import yaml

import cluster
from hack import tools

NAME = "hello"
FOLDER = tools.ROOT / "examples" / NAME
SECONDS = 300


class Story:
    """Tells each new thing once, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._told: dict[str, str] = {}

    def tell(self, about: str, text: str) -> None:
        """Print `text` unless it is what was told about this last."""
        if self._told.get(about) != text:
            self._told[about] = text
            tools.say(f"{time.monotonic() - self._start:6.1f} s  {about}: {text}")


def main() -> None:
    """Apply, watch, run, show."""
    where, story = cluster.current(), Story()
    for name in ("namespace", "registry", "imagebuild"):
        story.tell(f"kubectl apply -f examples/hello/{name}.yaml", tools.run(where, *_apply(name)).strip())
    for kind in ("Registry", "ImageBuild"):
        tools.until(functools.partial(_ready, where, story, kind), SECONDS, f"{kind} {NAME}: Ready")
    status = tools.get(where, NAME, "imagebuilds.strata.build", NAME)["status"]
    _run(where, story, status["image"])
    _show(status, tools.run(where, "kubectl", "get", "--raw", f"/api/v1/namespaces/{NAME}/pods/{NAME}:8080/proxy/"))


def _apply(name: str) -> list[str]:
    return ["kubectl", "apply", "-f", str(FOLDER / f"{name}.yaml")]


def _ready(where: cluster.Cluster, story: Story, kind: str) -> bool:
    """Whether the object is ready in its present generation; tells the condition Ready. Raises Stop if it is Stalled."""
    found = tools.get(where, NAME, f"{kind.lower()}.strata.build", NAME)
    generation = found["metadata"]["generation"]
    conditions = {c["type"]: c for c in found.get("status", {}).get("conditions", [])}
    if ready := conditions.get("Ready"):
        story.tell(f"{kind} {NAME}", f"Ready={ready['status']} {ready['reason']}: {ready['message']}")
    if _holds(conditions.get("Stalled"), generation):
        raise tools.Stop(f"{kind} {NAME}: {conditions['Stalled']['message']}\nkubectl -n {NAME} describe {kind} {NAME}")
    return _holds(conditions.get("Ready"), generation)


def _holds(condition: dict[str, Any] | None, generation: int) -> bool:
    return bool(condition and condition["status"] == "True" and condition.get("observedGeneration") == generation)


def _run(where: cluster.Cluster, story: Story, image: str) -> None:
    """A Pod of exactly the image that was built."""
    pod = yaml.safe_load((FOLDER / "pod.yaml").read_text())
    pod["spec"]["containers"][0]["image"] = image
    tools.run(where, "kubectl", "-n", NAME, "delete", "pod", NAME, "--ignore-not-found", "--now")
    tools.run(where, "kubectl", "apply", "-f", "-", given=json.dumps(pod))
    story.tell(f"Pod {NAME}", f"starting from {image}")
    tools.run(where, "kubectl", "-n", NAME, "wait", "pod", NAME, "--for=condition=Ready", "--timeout=120s")
    story.tell(f"Pod {NAME}", "Ready")


def _show(status: dict[str, Any], answer: str) -> None:
    tools.say(f"\nimage    {status['image']}\ndigest   {status['digest']}\nmetrics")
    for name, value in status.get("metrics", {}).items():
        tools.say(f"         {name:<18} {json.dumps(value)}")
    tools.say(f"\nthe Pod answers:\n{answer.rstrip()}")


if __name__ == "__main__":
    tools.main(main)
