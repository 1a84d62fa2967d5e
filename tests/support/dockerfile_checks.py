"""Warnings about a Dockerfile: Strata's beside the reference's."""

from __future__ import annotations

import re
from typing import Any

from strata_builder import dockerfile as df
from strata_builder import errors, lint
from strata_builder.context import memory
from strata_builder.engine.options import Options
from strata_builder.oci.platform import Platform
from support import dockerfile_images, dockerfile_plans, dockerfile_reference

AMD64 = Platform.parse("linux/amd64")
_SUGGESTION = re.compile(r" \(did you mean [^)]*\)")


def ours(
    source: bytes, *, ignore: bytes = b"", target: str = "", args: dict[str, str] | None = None
) -> tuple[list[tuple[str, str, int, int]], str]:
    """(rule, message, first line, last line) of each warning in order, and the error that ended the checks."""
    options = Options(memory.MemoryTree({b"f": b"f"}), AMD64, AMD64, target=target, build_args=args or {})
    try:
        rules = df.IgnoreRules.parse(ignore)
        images = dockerfile_plans.Images(dockerfile_images.ALL)
        report = lint.check(df.parse(source), options, images, ignore=rules)
    except errors.BuildError as error:
        return [], error.message
    found = [(each.rule, each.message, each.start, each.end) for each in report.warnings]
    return found, report.error.message if report.error else ""


def theirs(
    reference: dockerfile_reference.Reference, source: bytes, *, ignore: bytes = b"", target: str = ""
) -> tuple[list[tuple[str, str, int, int]], str]:
    """The same of the reference."""
    question = {"Images": dockerfile_images.ALL, "Platform": "linux/amd64", "Ignore": ignore or None, "Target": target}
    try:
        answer: dict[str, Any] = reference.ask("lint", Source=source, **question)
    except dockerfile_reference.Panic as panic:
        return [], str(panic)  # it does so for a trigger of a base image that copies from another image
    found = {(each["rule"], each["message"], each["start"], each["end"]) for each in answer["warnings"] or []}
    return sorted(found, key=lambda each: (each[2], each[3], each[0], each[1])), answer.get("error", "")


def without_suggestions(found: list[tuple[str, str, int, int]]) -> set[tuple[str, str, int, int]]:
    """Of several names that are equally near the reference suggests any."""
    return {(rule, _SUGGESTION.sub("", message), start, end) for rule, message, start, end in found}
