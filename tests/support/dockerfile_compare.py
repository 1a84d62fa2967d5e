"""Strata's reading of a Dockerfile beside the reference's: what differs, and which differences are meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from strata_builder import errors
from strata_builder.oci import reference as references
from support import dockerfile_plans, dockerfile_reference, dockerfile_views


@dataclass(frozen=True, slots=True)
class Difference:
    """At `path`, such as /stages[0]/instructions[1]/argv, the reference has `theirs` and Strata has `ours`."""

    path: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.path}: the reference says {self.theirs!r}, Strata {self.ours!r}"


def parsed(reference: dockerfile_reference.Reference, source: bytes, env: dict[str, str]) -> list[Difference]:
    """Differences between the two readings of a file; what both refuse is the same, whatever they say first."""
    theirs, ours = reference.parse(source, env), dockerfile_views.parsed(source, env)
    if not theirs.get("stages"):
        theirs.setdefault("error", "no stages")  # which it says when it makes the image
    if theirs.get("error") and ours.get("error"):
        return []
    if ours.get("error"):
        return [] if _refuses_later(theirs, ours["start"]) else [Difference("", "accepted", ours)]
    if theirs.get("error"):
        return [Difference("", theirs, "accepted")]
    return list(_differences("", _comparable(theirs), _comparable(ours)))


def built(
    reference: dockerfile_reference.Reference, source: bytes, images: dict[str, str], **question: Any
) -> list[Difference]:
    """Differences between the two images' configs. `question`: target, args, platform, labels."""
    theirs = reference_build(reference, source, images, **question)
    ours = dockerfile_plans.built(source, images=images, **question)
    if theirs.get("error") or ours.get("error"):
        same = bool(theirs.get("error")) == bool(ours.get("error"))
        return [] if same else [Difference("", theirs.get("error", "accepted"), ours.get("error", "accepted"))]
    return list(_differences("", dockerfile_plans.bare(theirs["image"]), ours["image"]))


def reference_build(
    reference: dockerfile_reference.Reference, source: bytes, images: dict[str, str], **question: Any
) -> dict[str, Any]:
    """{image} or {error, start, end} by the reference."""
    asked = {"Platform": "linux/amd64"} | {name.capitalize(): value for name, value in question.items()}
    answer: dict[str, Any] = reference.ask("build", Source=source, Images=images, **asked)
    return answer


def _refuses_later(theirs: dict[str, Any], line: int) -> bool:
    """Whether the reference finds fault with the instruction of that line when it expands it.

    Strata checks values that hold no variable when it reads them.
    """
    return any(
        "error" in each["resolved"] and each["start"] <= line <= each["end"]
        for stage in theirs["stages"]
        for each in stage.get("instructions") or []
    )


def _comparable(file: dict[str, Any]) -> dict[str, Any]:
    """The file without what one side says later or in other words."""
    stages = [
        {**stage, "instructions": [_instruction(each) for each in stage.get("instructions") or []]}
        for stage in file["stages"]
    ]
    return {"escape": file["escape"], "meta_args": file.get("meta_args") or [], "stages": stages}


def _instruction(each: dict[str, Any]) -> dict[str, Any]:
    each = dict(each)
    if "mounts" in each:
        each["mounts"] = [{"from": mount["from"]} for mount in each["mounts"]]
    resolved = each["resolved"]
    if each["keyword"] in ("EXPOSE", "ARG", "STOPSIGNAL", "VOLUME"):
        # Their values are checked, and ports made single, only when the image is made: `built` compares those.
        resolved = {}
    for paths in (each, resolved):
        if paths.get("dest") == ".":
            paths["dest"] = ""
    return each | {"resolved": resolved}


def _differences(path: str, theirs: Any, ours: Any) -> Iterator[Difference]:
    if isinstance(theirs, dict) and isinstance(ours, dict) and (theirs.get("error") or ours.get("error")):
        if not (theirs.get("error") and ours.get("error")):
            yield Difference(path, theirs.get("error", "accepted"), ours.get("error", "accepted"))
    elif isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted({*theirs, *ours}):
            yield from _differences(f"{path}/{name}", theirs.get(name), ours.get(name))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from _differences(f"{path}[{number}]", one, other)
    elif theirs != ours:
        yield Difference(path, theirs, ours)


def completed(name: str) -> str:
    """The whole of an image reference as Strata has it; empty for what is none."""
    try:
        found = references.Reference.parse(name)
    except errors.BuildError:
        return ""
    return str(found if found.tag or found.digest else found.with_tag("latest"))


def small_host(name: str) -> str:
    """A whole reference with its host in small letters, as Strata writes it where more than capitals tells the host."""
    host, slash, rest = name.partition("/")
    return host.lower() + slash + rest if set(host) & set(".:") or host.lower() == "localhost" else name
