"""The status of an ImageBuild as values, and back. Pure.

All that the operator has to remember between two looks at an object is here, so that it can be killed at any moment.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from strata_builder import contract
from strata_operator import conditions

PENDING: Final = "Pending"  # wanted, and waiting for something
STARTING: Final = "Starting"  # its Job is about to be there, or has been for a moment
RUNNING: Final = "Running"  # its pod runs, or takes its time to
RETRYING: Final = "Retrying"  # the infrastructure failed; the next attempt has a time
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
SUPERSEDED: Final = "Superseded"
SUSPENDED: Final = "Suspended"
CANCELLED: Final = "Cancelled"
NOT_DONE: Final = frozenset({FAILED, CANCELLED})  # has ended without an image, and nothing follows by itself
STOPPED: Final = frozenset({SUPERSEDED, SUSPENDED, CANCELLED})  # ended by order: the Job goes at once
ACTIVE: Final = frozenset({STARTING, RUNNING})  # phases that have, or are about to have, a Job
OPEN: Final = ACTIVE | {PENDING, RETRYING}
MOVED: Final = "BaseImageChanged"  # the reason of a build that base images have started
_TOLD: Final = 3  # base images that a message names

#: Fields of the status that describe the image of the last success.
IMAGE_FIELDS: Final = (
    "image",
    "references",
    "digest",
    "size",
    "tags",
    "repository",
    "platforms",
    "inputs",
    "source",
    "baseImages",
    "metrics",
    "steps",
)


#: Moments of a State by the names of the status' fields.
_TIMES: Final = {
    "last_checked": "lastCheckedTime",
    "last_schedule": "lastScheduleTime",
    "next_schedule": "nextScheduleTime",
}


@dataclass(frozen=True, slots=True)
class MovedBase:
    """A base image that no longer is what was built on last: digests of the platform's manifest. `previous` is empty for one
    that was not found."""

    name: str
    digest: str
    previous: str = ""

    def __str__(self) -> str:
        if not self.previous:
            return f"base image {self.name}, which was not found, is now {self.digest}"
        return f"base image {self.name} moved from {self.previous} to {self.digest}"


@dataclass(frozen=True, slots=True)
class Current:
    """The newest build. Times are Unix seconds. `base_images` are those that had moved when it began; with the reason MOVED,
    that has started it. `used_base_images` are those that it has told of where it failed."""

    number: int
    generation: int = 0
    phase: str = PENDING
    reason: str = ""
    fields: str = ""
    inputs: str = ""
    commit: str = ""
    ref: str = ""
    job: str = ""
    attempt: int = 0
    retries: int = 0
    checks: int = 0
    isolation: str = ""
    destination: str = ""  # namespace and name of the Registry, and the repository
    no_cache: bool = False
    log: str = ""  # reference of the artifact with its log
    result: str = ""
    queue_position: int | None = None
    queue_limit: str = ""
    next_time: float | None = None
    queued_time: float | None = None
    start_time: float | None = None
    completion_time: float | None = None
    base_images: tuple[MovedBase, ...] = ()
    used_base_images: tuple[contract.BaseImage, ...] = ()
    attempts: Sequence[Mapping[str, Any]] = ()  # that have ended while the build is open

    @property
    def active(self) -> bool:
        return self.phase in ACTIVE

    @property
    def cause(self) -> str:
        """Which base images have started it, for people; empty if none has."""
        bases = self.base_images if self.reason == MOVED else ()
        told = [str(base) for base in bases[:_TOLD]]
        more = len(bases) - len(told)
        return "; ".join([*told, *([f"and so did {more} more"] if more else [])])


@dataclass(frozen=True, slots=True)
class Success:
    number: int
    generation: int
    digest: str
    time: float | None = None
    isolation: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """A whole status; `image` holds IMAGE_FIELDS as they are written."""

    observed_generation: int = -1
    current: Current | None = None
    last_success: Success | None = None
    handled_rebuild: str = ""
    handled_no_cache: str = ""
    handled_cancel: str = ""
    last_checked: float | None = None  # when the source's revision was last looked up
    last_schedule: float | None = None  # the time of the schedule that was built for last
    next_schedule: float | None = None  # the first one that was not handled yet
    image: Mapping[str, Any] = field(default_factory=dict)
    builds: Sequence[Mapping[str, Any]] = ()
    conditions: Sequence[Mapping[str, Any]] = ()

    def with_current(self, **changes: Any) -> State:
        """The state with a changed current build."""
        if self.current is None:
            raise ValueError("there is no current build to change")
        return dataclasses.replace(self, current=dataclasses.replace(self.current, **changes))

    def out_of_queue(self) -> State:
        """The state without a position in the queue: who still waits is given one anew."""
        return self.with_current(queue_position=None, queue_limit="") if self.current else self

    def of(self, generation: int) -> State:
        """The state as an object of this generation has it: one that tells of a later one is of the object that a backup was
        made of, and its generations are no other's."""
        success = self.last_success
        if success is None or max(self.observed_generation, success.generation) <= generation:
            return self
        return dataclasses.replace(self, last_success=dataclasses.replace(success, generation=-1))

    def built(self, generation: int) -> bool:
        """Whether the image in the registry is that of `generation`."""
        return self.last_success is not None and self.last_success.generation == generation


def read(status: Mapping[str, Any]) -> State:
    """The state in a status that this module wrote, or in an empty one."""
    current, success = status.get("current"), status.get("lastSuccess")
    return State(
        observed_generation=status.get("observedGeneration", -1),
        current=_from_json(Current, current) if current else None,
        last_success=_from_json(Success, success) if success else None,
        handled_rebuild=status.get("lastHandledRebuild", ""),
        handled_no_cache=status.get("lastHandledNoCache", ""),
        handled_cancel=status.get("lastHandledCancel", ""),
        **{field: conditions.unix(status[name]) for field, name in _TIMES.items() if name in status},
        image={name: status[name] for name in IMAGE_FIELDS if name in status},
        builds=tuple(status.get("builds") or ()),
        conditions=tuple(status.get("conditions") or ()),
    )


def write(state: State) -> dict[str, Any]:
    """The status of `state`; what is empty is left out."""
    status: dict[str, Any] = {"observedGeneration": state.observed_generation, "conditions": list(state.conditions)}
    status |= state.image
    if state.current:
        status["current"] = _to_json(state.current)
    if state.last_success:
        status["lastSuccess"] = _to_json(state.last_success)
    if state.handled_rebuild:
        status["lastHandledRebuild"] = state.handled_rebuild
    if state.handled_no_cache:
        status["lastHandledNoCache"] = state.handled_no_cache
    if state.handled_cancel:
        status["lastHandledCancel"] = state.handled_cancel
    times = {name: getattr(state, field) for field, name in _TIMES.items()}
    status |= {name: stamp(value) for name, value in times.items() if value is not None}
    if state.builds:
        status["builds"] = list(state.builds)
    return status


def stamp(seconds: float) -> str:
    """Unix time as RFC 3339 with milliseconds: builds can take less than a second."""
    moment = datetime.datetime.fromtimestamp(round(seconds, 3), datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_json(value: Current | Success) -> dict[str, Any]:
    found = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return {
        _camel(name): _out(name, item)
        for name, item in found.items()
        if item not in (None, "", False, ()) or name == "number"
    }


def _from_json(kind: Any, data: Mapping[str, Any]) -> Any:
    known = {f.name: data[_camel(f.name)] for f in dataclasses.fields(kind) if _camel(f.name) in data}
    return kind(**{name: _in(name, item) for name, item in known.items()})


def _in(name: str, item: Any) -> Any:
    if name == "base_images":
        return tuple(MovedBase(base["name"], base["digest"], base.get("previous", "")) for base in item)
    if name == "used_base_images":
        return tuple(contract.BaseImage(base["name"], base["digest"]) for base in item)
    if isinstance(item, list):
        return tuple(item)
    return conditions.unix(item) if _is_time(name) else item


def _out(name: str, item: Any) -> Any:
    if name == "base_images":
        return [{key: text for key, text in dataclasses.asdict(base).items() if text} for base in item]
    if name == "used_base_images":
        return [{"name": base.name, "digest": base.digest} for base in item]
    if isinstance(item, tuple):
        return list(item)
    return stamp(item) if _is_time(name) else item


def _is_time(name: str) -> bool:
    return name == "time" or name.endswith("_time")


@functools.cache
def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
