"""What a campaign asks for, and when it has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from support import e2e

EPOCH: Final = 1_700_000_000
VERSIONS: Final = 16  # of the contents of a slot; one ImageBuild never has one twice
BRANCHES: Final = 4
TAGS: Final = ("latest", "n{build}")
#: The kinds of builds and how often each is asked for: without a step, with one, from a git repository.
KINDS: Final = {"inline": 7, "run": 2, "git": 1}


@dataclass(frozen=True, slots=True)
class Contents:
    """What an image is made of: equal contents must give one digest, whoever builds them."""

    kind: str
    slot: int
    version: int

    @property
    def label(self) -> str:
        return f"{self.kind}-{self.slot}-{self.version}"

    @property
    def dockerfile(self) -> str:
        step = f"RUN echo {self.label} > /ran\n" if self.kind == "run" else ""
        return f"FROM busybox:1.36\nLABEL version={self.label}\nCOPY file /file\n{step}"

    @property
    def files(self) -> dict[str, str]:
        return {"file": f"{self.label}\n"}


def contents(kind: str, slot: int, version: int) -> Contents:
    """Those of the `version`th edit in a slot; git has a few branches for all slots."""
    if kind == "git":
        return Contents(kind, 0, version % BRANCHES)
    return Contents(kind, slot, version % VERSIONS)


@dataclass(frozen=True, slots=True)
class Wish:
    """What one ImageBuild is to have come to. `token` is that of the last rebuild that was asked for."""

    name: str
    contents: Contents
    token: str = ""

    def body(self, git: str) -> e2e.Body:
        made = self.contents
        spec: dict[str, Any] = {"output": {"registry": {"name": e2e.REGISTRY}, "tags": list(TAGS)}}
        spec |= {"retries": 10, "history": {"succeeded": 10, "failed": 10}, "sourceDateEpoch": EPOCH}
        spec |= {"isolation": "InPlace" if made.kind == "run" else "Layers"}
        if made.kind == "git":
            spec["source"] = {"git": {"url": git, "revision": branch(made.version)}}
            body = e2e.image_build(self.name, **spec)
        else:
            body = e2e.image_build(self.name, made.dockerfile, source={"inline": made.files}, **spec)
        body["metadata"]["annotations"] = {f"{e2e.GROUP}/rebuild": self.token} if self.token else {}
        return body


def branch(version: int) -> str:
    return f"v{version}"


def settled(body: e2e.Body, wish: Wish) -> bool:
    """Whether the status says that `wish` has come about, all of it and for this generation."""
    status, generation = body.get("status", {}), body["metadata"]["generation"]
    now = {c["type"]: c for c in status.get("conditions", [])}
    ready, building = now.get("Ready", {}), now.get("Building", {})
    current = status.get("current", {})
    return bool(
        ready.get("status") == "True"
        and ready.get("observedGeneration") == status.get("observedGeneration") == generation
        and building.get("status") != "True"
        and current.get("phase") == "Succeeded"
        and status.get("lastHandledRebuild", "") == wish.token
        and status.get("lastSuccess", {}).get("number") == current.get("number")
    )
