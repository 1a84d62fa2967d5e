"""All checks of one Dockerfile."""

from __future__ import annotations

from collections.abc import Mapping

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile.faults import Fault
from strata_builder.engine import filescope, planner
from strata_builder.engine.options import Options
from strata_builder.frozen import frozen, replace
from strata_builder.lint import froms, settings, texts
from strata_builder.lint.findings import Finding, Findings
from strata_builder.lint.steps import Checker


@frozen
class Report:
    """What was found, in the order of lines. `error` ended the checks before their end; `settings` are the file's."""

    warnings: tuple[Finding, ...]
    settings: settings.Settings
    error: errors.BuildError | None = None


def check(
    file: df.Dockerfile,
    options: Options,
    images: filescope.Images,
    *,
    ignore: df.IgnoreRules | None = None,
    unknown: Mapping[str, object] | None = None,
) -> Report:
    """The warnings for the target's stages, or for every stage where none is named.

    `unknown` names the images that `images` could not look at and gave an empty one for: of stages on them nothing is
    said that depends on their environment. Raises DockerfileError for a check directive that cannot be read.
    """
    found = Findings(_settings(file, options), file.comments)
    texts.check(file, found)
    error: errors.BuildError | None = None
    try:
        froms.check(file, planner.outer(file, options), _defaults(file, options), found)
        planner.check(file, options, images, Checker(file.escape, found, ignore or df.IgnoreRules(), unknown or {}))
    except errors.BuildError as e:
        error = e
    return Report(tuple(sorted(found.found)), found.settings, error)


def _defaults(file: df.Dockerfile, options: Options) -> Mapping[str, str] | None:
    """What FROM lines see without build arguments; None if that is an error."""
    try:
        return planner.outer(file, replace(options, build_args={}))
    except errors.DockerfileError:
        return None


def _settings(file: df.Dockerfile, options: Options) -> settings.Settings:
    """Those of the build argument, if there is one, else of the directive."""
    try:
        return settings.parse(options.build_args.get(settings.ARGUMENT, (file.check or "").split(" ")[0]))
    except Fault as fault:
        line = next((n for n, text in enumerate(file.source.split("\n"), 1) if fault.about in text), 1)
        place = df.place(file, df.Span(line, line), fault.about)
        raise errors.DockerfileError(fault.message, place=place, hint=fault.hint) from None
