"""Checks of FROM lines: variables that nobody declares, bases that are none without build arguments, platforms."""

from __future__ import annotations

from collections.abc import Mapping

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import watching
from strata_builder.lint import names
from strata_builder.lint.findings import Findings
from strata_builder.oci import reference
from strata_builder.oci.platform import Platform

_TARGET = "TARGETPLATFORM"


def check(
    file: df.Dockerfile, variables: Mapping[str, str], defaults: Mapping[str, str] | None, warnings: Findings
) -> None:
    """`variables` is what FROM lines see, `defaults` what they would see without build arguments (None: unknown)."""
    declared = [*variables, *(name for arg in file.meta_args for name, _ in arg.pairs)]
    for stage in file.stages:
        _check_variables(stage.from_, variables, declared, file.escape, warnings)
        _check_platform(stage, variables, file.escape, warnings)
    if defaults is not None:
        _check_defaults(file, defaults, warnings)


def _check_variables(
    from_: ins.From, variables: Mapping[str, str], declared: list[str], escape: str, warnings: Findings
) -> None:
    for word in (from_.image, from_.platform):
        seen = _expanded(word, variables, escape)[1]
        for name in sorted(seen.missed - {*declared}):
            near = names.suggestion(name, sorted(declared))
            message = f"FROM argument '{name}' is not declared" + (f" (did you mean {near}?)" if near else "")
            warnings.add("UndefinedArgInFrom", message, from_.span)


def _expanded(word: str, variables: Mapping[str, str], escape: str) -> tuple[str, watching.Noting]:
    seen = watching.Noting(variables)
    try:
        return df.expand(word, seen, escape=escape), seen
    except errors.DockerfileError:
        return "", seen  # whoever plans the stage says so


def _check_platform(stage: df.Stage, variables: Mapping[str, str], escape: str, warnings: Findings) -> None:
    written = stage.from_.platform
    value, seen = _expanded(written, variables, escape)
    if not value or seen.missed:
        return
    if seen.found == {_TARGET} and value == variables.get(_TARGET):
        message = f"Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
        warnings.add("RedundantTargetPlatform", message, stage.from_.span)
    if not seen.found and not _named_after(stage.name or "", value):
        message = f'FROM --platform flag should not use constant value "{value}"'
        warnings.add("FromPlatformFlagConstDisallowed", message, stage.from_.span)


def _named_after(stage: str, platform: str) -> bool:
    """Whether a stage's name tells that it is for one platform; what is no platform is said elsewhere."""
    try:
        parsed = Platform.parse(platform)
    except errors.BuildError:
        return True
    return parsed.os in stage or parsed.architecture in stage


def _check_defaults(file: df.Dockerfile, defaults: Mapping[str, str], warnings: Findings) -> None:
    for stage in file.stages:
        try:
            value = df.expand(stage.from_.image, defaults, escape=file.escape)
        except errors.DockerfileError:
            return
        try:
            reference.Reference.parse(value)
        except errors.BuildError:
            message = f"Default value for ARG {stage.from_.image} results in empty or invalid base image name"
            warnings.add("InvalidDefaultArgInFrom", message, stage.from_.span, above=False)
