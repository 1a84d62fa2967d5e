"""A command line checked as a whole before any work: a wrong value is a usage error that names its flag."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from strata_builder import errors
from strata_builder.cli import values
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.registry.mirrors import Mirrors

T = TypeVar("T")


def check(given: argparse.Namespace) -> None:
    """Raises UsageError for the first value that cannot be used."""
    _each("--platform", (part for text in given.platform for part in text.split(",") if part), Platform.parse)
    values.pairs("--build-arg", given.build_arg, {})
    values.labels(given.label)
    for text in given.secret:
        values.secret(text)
    for text in given.ssh:
        values.ssh(text)
    values.contexts(given.build_context)
    if given.context == "-" and given.file == "-":
        raise values.UsageError("standard input cannot be both the context and the Dockerfile")
    if hasattr(given, "registry_mirror"):
        _each("--registry-mirror", given.registry_mirror, lambda text: Mirrors.parse(values.mirrors([text])))
        for text in given.cache_from:
            _reference("--cache-from", values.cache("--cache-from", text).reference)
    if given.command == "build":
        _check_results(given)


def _check_results(given: argparse.Namespace) -> None:
    for text in given.cache_to:
        _reference("--cache-to", values.cache("--cache-to", text).reference)
    if given.call not in ("build", "check"):
        raise values.UsageError(
            f"--call={given.call} is not supported",
            hint="`strata plan` shows stages and steps, `strata check` reads only",
        )
    for name in given.tag:
        if _reference("--tag", name).digest:
            raise values.UsageError(f"--tag {name!r}: a name that is given to an image holds no digest")
    outputs = [values.output(text) for text in given.output]
    _check_standard_output([output.dest for output in outputs if output.dest == "-"], quiet=given.quiet)
    for output in outputs:
        for name in output.names:
            _reference("--output name", name)


def _check_standard_output(taken: list[str], *, quiet: bool) -> None:
    if len(taken) + quiet > 1:
        raise values.UsageError(
            "standard output can take one result", hint="give the others a dest=FILE, and leave --quiet out"
        )
    if taken and sys.stdout.isatty():
        raise values.UsageError(
            "the result would be written to the terminal", hint="redirect it (> image.tar), or give dest=FILE"
        )


def _reference(flag: str, text: str) -> Reference:
    (found,) = _each(flag, [text], Reference.parse)
    return found


def _each(flag: str, texts: Iterable[str], parse: Callable[[str], T]) -> list[T]:
    try:
        return [parse(text) for text in texts]
    except values.UsageError:
        raise
    except errors.BuildError as e:
        raise values.UsageError(f"{flag}: {e.message}", hint=e.hint) from e
