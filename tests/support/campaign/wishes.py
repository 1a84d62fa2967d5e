"""What a campaign asks for, and when it has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from support import e2e

EPOCH: Final = 1_700_000_000
VERSIONS: Final = 16  # of the contents of a slot; one ImageBuild never has one twice
BRANCHES: Final = 4
TAGS: Final = ("latest", "n{build}")
#: The kinds of builds and how often each is asked for: without a step, with one, from a git repository.
KINDS: Final = {"inline": 7, "run": 2, "git": 1}
#: Those of what is asked for but once and then follows: a branch, and a base image.
COMMIT: Final = "commit"
BASED: Final = "based"
TRIGGERS: Final[Mapping[str, e2e.Body]] = {
    COMMIT: {"git": {"pollInterval": "10s"}},
    BASED: {"baseImages": {"pollInterval": "1m"}},
}


@dataclass(frozen=True, slots=True)
class Base:
    """What an image is made from: `name` stands for `contents` while it is built."""

    name: str
    contents: Contents


@dataclass(frozen=True, slots=True)
class Contents:
    """What an image is made of: equal contents must give one digest, whoever builds them."""

    kind: str
    slot: int
    version: int
    base: Base | None = None

    @property
    def label(self) -> str:
        return f"{self.kind}-{self.slot}-{self.version}"

    @property
    def stack(self) -> tuple[Contents, ...]:
        """These, and those of the bases below."""
        return (self, *(self.base.contents.stack if self.base else ()))

    @property
    def key(self) -> str:
        """Another one for other contents: what follows its base has one label whatever that stands for."""
        return "-on-".join(one.label for one in self.stack)

    @property
    def dockerfile(self) -> str:
        base = self.base.name if self.base else "busybox:1.36"
        step = f"RUN echo {self.label} > /ran\n" if self.kind == "run" else ""
        return f"FROM {base}\nLABEL version={self.label}\nCOPY {self.file} /{self.file}\n{step}"

    @property
    def file(self) -> str:
        return self.kind if self.base else "file"

    @property
    def files(self) -> dict[str, str]:
        return {self.file: f"{self.label}\n"}

    @property
    def revision(self) -> str:
        """Where a git repository has them; empty if it is none that does."""
        return {"git": branch(self.version), COMMIT: f"moving-{self.slot}"}.get(self.kind, "")


def contents(kind: str, slot: int, version: int) -> Contents:
    """Those of the `version`th edit in a slot; git has a few branches for all slots."""
    if kind == "git":
        return Contents(kind, 0, version % BRANCHES)
    return Contents(kind, slot, version % VERSIONS)


@dataclass(frozen=True, slots=True)
class Wish:
    """What one ImageBuild is to have come to. `token` is that of the last rebuild that was asked for, `commit` the last
    one of a branch that is followed."""

    name: str
    contents: Contents
    token: str = ""
    commit: str = ""

    @property
    def follows(self) -> bool:
        """Whether triggers alone have it built again."""
        return self.contents.kind in TRIGGERS

    def body(self, git: str) -> e2e.Body:
        made = self.contents
        spec: dict[str, Any] = {"output": {"registry": {"name": e2e.REGISTRY}, "tags": list(TAGS)}}
        spec |= {"retries": 10, "history": {"succeeded": 10, "failed": 10}, "sourceDateEpoch": EPOCH}
        spec |= {"isolation": "InPlace" if made.kind == "run" else "Layers"}
        spec |= {"triggers": TRIGGERS[made.kind]} if self.follows else {}
        if made.revision:
            spec["source"] = {"git": {"url": git, "revision": made.revision}}
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


def asks_for(body: e2e.Body, wish: Wish) -> bool:
    """Whether the spec is that of `wish`: what was seen last may be from before it was asked for."""
    spec, made = body["spec"], wish.contents
    if made.revision:
        same = spec["source"].get("git", {}).get("revision") == made.revision
    else:
        same = spec.get("dockerfile", {}).get("inline") == made.dockerfile
    asked = body["metadata"].get("annotations", {}).get(f"{e2e.GROUP}/rebuild", "")
    return bool(same and asked == wish.token)
