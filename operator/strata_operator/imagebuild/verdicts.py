"""What a Job and its pods have come to, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from strata_builder import contract
from strata_operator import kube


@dataclass(frozen=True, slots=True)
class Running:
    """`started` once all containers run."""

    message: str
    started: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Comes by itself, or by an administrator: `reason` of contract.WAITING."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NeedsSandbox:
    """A step must run, and this pod runs none."""

    message: str


@dataclass(frozen=True, slots=True)
class NoUserNamespace:
    """The node has ignored `hostUsers: false`, and fetch has said so; nothing has run."""

    node: str


@dataclass(frozen=True, slots=True)
class NoImageVolume:
    """The node cannot mount the builder's image; nothing has run."""

    message: str


@dataclass(frozen=True, slots=True)
class Suspended:
    """Kueue, or whoever else, has not let the Job go, or has taken it back; nothing runs."""

    body: kube.Object


@dataclass(frozen=True, slots=True)
class Lost:
    """No pod and no result are left."""

    message: str


@dataclass(frozen=True, slots=True)
class AskEvents:
    """The events of this object are needed to tell."""

    body: kube.Object


Verdict = (
    Running
    | Waiting
    | NeedsSandbox
    | NoUserNamespace
    | NoImageVolume
    | Suspended
    | Lost
    | AskEvents
    | contract.BuildResult
    | contract.Failure
)
