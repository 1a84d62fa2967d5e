"""The warnings of a build: told once, at its end, where nothing scrolls them away; or errors, if the Dockerfile asks so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.engine import steps
from strata_builder.engine.options import Options
from strata_builder.frozen import field, frozen, replace
from strata_builder.lint.check import Report, check
from strata_builder.lint.findings import Finding
from strata_builder.oci.platform import Platform

_NAMED = 5  # rules that a refusal names


@frozen
class Warnings:
    """Those of every platform that a build makes, each once."""

    found: dict[str, None] = field(default_factory=dict)

    def look(self, file: df.Dockerfile, options: Options, plan: steps.Plan, ignore: df.IgnoreRules | None) -> None:
        """Adds what there is to say of the stages of a plan. Raises DockerfileError where check=error=true refuses it."""
        report = check(file, replace(options, target=str(plan.target)), _Planned(plan), ignore=ignore)
        if report.warnings and report.settings.error:
            raise _refusal(file, report)
        self.found.update({shown(file, warning): None for warning in report.warnings})


@contextmanager
def collected(say: Callable[[str], None]) -> Iterator[Warnings]:
    """Warnings to be added to; `say` is called with each as soon as the block ends, however it does."""
    warnings = Warnings()
    try:
        yield warnings
    finally:
        for text in warnings.found:
            say(text)


def shown(file: df.Dockerfile, warning: Finding) -> str:
    """A warning as a person reads it: what, where, which line, and where it is explained."""
    place = df.place(file, df.Span(warning.start, warning.end))
    message = f"warning: {warning.message} ({warning.rule})"
    return str(errors.DockerfileError(message, place=place, hint=f"see {warning.url}"))


def _refusal(file: df.Dockerfile, report: Report) -> errors.DockerfileError:
    first, *others = report.warnings
    message = f"{first.message} ({first.rule}); check=error=true makes an error of it"
    if others:
        named = ", ".join(f"{other.rule} in line {other.start}" for other in others[:_NAMED])
        message += f", and of {named}" + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
    rules = ",".join(dict.fromkeys(warning.rule for warning in report.warnings))
    return errors.DockerfileError(
        message,
        place=df.place(file, df.Span(first.start, first.end)),
        hint=f"mend it, or skip the rule: # check=skip={rules};error=true; see {first.url}",
    )


class _Planned:
    """The images of a plan."""

    def __init__(self, plan: steps.Plan) -> None:
        self._bases = {base.name: base for base in plan.bases}

    def resolve(self, reference: str, platform: Platform) -> steps.Base:  # noqa: ARG002
        return self._bases[reference]
