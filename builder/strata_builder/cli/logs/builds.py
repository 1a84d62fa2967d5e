"""Which attempt is meant, and where its log is, by the status of an ImageBuild. Pure; the status may be of any version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from strata_builder import errors
from strata_builder.frozen import frozen

Body = Mapping[str, Any]
OPEN: Final = frozenset({"Pending", "Starting", "Running", "Retrying"})
RUNNING: Final = frozenset({"Starting", "Running"})
#: What asks for a build, and where the status says that it was seen.
_ASKED: Final = {"strata.build/rebuild": "lastHandledRebuild", "strata.build/no-cache": "lastHandledNoCache"}
_COMPARED: Final = 256  # characters that the operator keeps


class NoSuchBuild(errors.BuildError):
    """The status does not tell of it."""

    reason = "InvalidSpec"


@frozen
class Chosen:
    """`attempt` 0 is the newest; `log` the reference of the artifact, `job` that of the attempt if it may still have a pod.
    Both may be empty."""

    number: int
    attempt: int
    log: str = ""
    job: str = ""
    result: str = ""


def choose(body: Body, number: int, attempt: int) -> Chosen:
    """What `number` and `attempt` name, 0 being the newest that has run. Raises NoSuchBuild."""
    status = body.get("status") or {}
    current, ended = status.get("current") or {}, status.get("builds") or []
    number = number or _newest(current, ended)
    entry: Body = next((build for build in ended if build.get("number") == number), {})
    if number and number == current.get("number") and not (current.get("attempt") or entry):
        raise NoSuchBuild(
            f"build {number} of {name(body)} has not run yet: {waits_for(body) or 'it was only just asked for'}",
            hint=f"wait for it: strata logs {_args(body)} --follow",
        )
    if number == current.get("number"):
        return _of_current(current, entry, attempt)
    if not entry:
        raise _unknown(body, number, current, ended)
    tried = entry.get("attempts") or []
    if attempt and tried and attempt not in (known := [each.get("attempt") for each in tried]):
        raise NoSuchBuild(
            f"build {number} of {name(body)} has no attempt {attempt}",
            hint=f"it has {', '.join(str(each) for each in sorted(known))}: strata logs {_args(body)} --build {number}",
        )
    return Chosen(number, attempt or _first(tried), entry.get("log", ""), result=entry.get("result", ""))


def name(body: Body) -> str:
    meta = body.get("metadata") or {}
    return f"{meta.get('namespace')}/{meta.get('name')}"


def phase(body: Body) -> str:
    return str(((body.get("status") or {}).get("current") or {}).get("phase") or "")


def is_news(body: Body) -> bool:
    """Whether the operator has yet to look at what somebody has changed, or has asked for: the newest build is older."""
    meta, status = body.get("metadata") or {}, body.get("status") or {}
    if status.get("observedGeneration") != meta.get("generation"):
        return True
    ready: Body = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    if (body.get("spec") or {}).get("suspend") or ready.get("reason") == "InvalidSpec" or meta.get("deletionTimestamp"):
        return False  # nothing is begun, whoever asks for it
    notes = meta.get("annotations") or {}
    return any(notes.get(name, "")[:_COMPARED] not in ("", status.get(said)) for name, said in _ASKED.items())


def waits_for(body: Body) -> str:
    """What the operator says of a build that has no pod, for people."""
    found = {c.get("type"): c for c in (body.get("status") or {}).get("conditions") or ()}
    said = found.get("Building") or found.get("Reconciling") or found.get("Stalled") or found.get("Ready") or {}
    return ": ".join(str(said[part]) for part in ("reason", "message") if said.get(part))


def last_words(body: Body, chosen: Chosen) -> str:
    """What the status itself keeps of an attempt, empty if nothing."""
    status = body.get("status") or {}
    holders = [status.get("current") or {}, *(status.get("builds") or [])]
    tried = [
        each for holder in holders if holder.get("number") == chosen.number for each in holder.get("attempts") or ()
    ]
    meant = [each for each in tried if chosen.attempt in (0, each.get("attempt"))]
    return "\n".join(str(each["lastLines"]) for each in meant[:1] if each.get("lastLines"))


def _newest(current: Body, ended: Sequence[Body]) -> int:
    """A build that still waits for its first pod has no log: then the one before it is meant."""
    if current.get("attempt") or not ended:
        return int(current.get("number") or 0)
    return int(ended[0].get("number") or 0)


def _of_current(current: Body, entry: Body, attempt: int) -> Chosen:
    newest = int(current.get("attempt") or 0)
    log = str(current.get("log") or entry.get("log") or "")
    job = str(current.get("job") or "") if attempt in (0, newest) else ""
    return Chosen(int(current.get("number") or 0), attempt or newest, log, job, str(entry.get("result") or ""))


def _first(tried: Sequence[Body]) -> int:
    return int(tried[0].get("attempt") or 0) if tried else 0


def _unknown(body: Body, number: int, current: Body, ended: Sequence[Body]) -> NoSuchBuild:
    if not number:
        return NoSuchBuild(
            f"{name(body)} has not been built yet", hint=f"wait for it: strata logs {_args(body)} --follow"
        )
    there = sorted({int(b["number"]) for b in (*ended, current) if b.get("number")}, reverse=True)
    return NoSuchBuild(
        f"{name(body)} has no build {number}, or none that it still tells of",
        hint=f"it tells of {', '.join(map(str, there[:20]))}; spec.history says how many are kept",
    )


def _args(body: Body) -> str:
    meta = body.get("metadata") or {}
    return f"{meta.get('name')} -n {meta.get('namespace')}"
