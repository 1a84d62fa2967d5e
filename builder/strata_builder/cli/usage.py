"""A command line checked as a whole before any work: a wrong value is a usage error that names its flag."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from strata_builder import errors
from strata_builder.cli import values
from strata_builder.oci.reference import Reference
from strata_builder.registry.mirrors import Mirrors

T = TypeVar("T")
V = TypeVar("V")


def check(given: argparse.Namespace) -> None:
    """Raises UsageError for the first value that cannot be used."""
    (platforms,) = _each("--platform", [given.platform], values.platforms)
    values.pairs("--build-arg", given.build_arg, {})
    values.labels(given.label)
    for text in given.secret:
        values.secret(text)
    for text in given.ssh:
        values.ssh(text)
    values.contexts(given.build_context)
    if not given.context:
        raise values.UsageError(
            "the context is empty", hint="`.` is the folder that you are in; or is a variable not set?"
        )
    if given.context == "-" and given.file == "-":
        raise values.UsageError("standard input cannot be both the context and the Dockerfile")
    if hasattr(given, "registry_mirror"):
        _each("--registry-mirror", given.registry_mirror, lambda text: Mirrors.parse(values.mirrors([text])))
        values.hosts("--insecure-registry", given.insecure_registry)
        for text in given.cache_from:
            _reference("--cache-from", values.cache("--cache-from", text).reference)
    if given.command == "build":
        _check_results(given, several=len(platforms) > 1)


def _check_results(given: argparse.Namespace, *, several: bool) -> None:
    for text in given.cache_to:
        if _reference("--cache-to", values.cache("--cache-to", text).reference).digest:
            raise values.UsageError(
                f"--cache-to {text!r}: what is to be written has no digest yet",
                hint="write REPOSITORY or REPOSITORY:TAG",
            )
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
        if several and output.kind in ("docker", "local", "tar"):
            raise values.UsageError(
                f"--output type={output.kind} holds one platform, and --platform names several", hint="use type=oci"
            )
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


def _each(flag: str, texts: Iterable[V], parse: Callable[[V], T]) -> list[T]:
    try:
        return [parse(text) for text in texts]
    except values.UsageError:
        raise
    except errors.BuildError as e:
        raise values.UsageError(f"{flag}: {e.message}", hint=e.hint) from e
