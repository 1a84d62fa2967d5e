"""`strata check`: what is wrong with a Dockerfile and what is probably not meant."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from strata_builder import contract, lint
from strata_builder import dockerfile as df
from strata_builder.cli import sources, values
from strata_builder.context import buildsecrets
from strata_builder.engine import steps
from strata_builder.engine.contexts import NamedContext
from strata_builder.engine.options import Options
from strata_builder.lint import building
from strata_builder.oci import platform as platforms
from strata_builder.oci.image import Image
from strata_builder.oci.platform import Platform


class _Unseen:
    """Asks no registry: every image is an empty one, and noted as unknown."""

    def __init__(self) -> None:
        self.names: dict[str, bool] = {}

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        self.names[reference] = True
        return steps.Base(reference, "", Image.scratch(platform))


def run(given: argparse.Namespace) -> int:
    """Prints warnings; the exit code is that of a failure if there are any. Errors are raised, with their place."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        secrets = sources.secrets([text for text in given.secret if buildsecrets.is_for_git(values.secret(text).id)])
        found = sources.load(given.context, given.file, Path(scratch), secrets)
        contexts = sources.named(values.contexts(given.build_context), Path(scratch), secrets)
        images = _Unseen()
        options = _options(given, found, contexts)
        report = lint.check(found.dockerfile, options, images, ignore=found.ignore, unknown=images.names)
    for warning in report.warnings:
        print(building.shown(found.dockerfile, warning))
    if report.error is not None:
        raise report.error
    print(_summary(found.dockerfile, len(report.warnings)))
    return contract.ExitCode.FAILED if report.warnings else contract.ExitCode.OK


def _options(given: argparse.Namespace, found: sources.Source, contexts: Mapping[str, NamedContext]) -> Options:
    wanted = values.platforms(given.platform)
    return Options(
        context=found.tree,
        platform=wanted[0] if wanted else platforms.host(),
        build_platform=platforms.host(),
        target=given.target,
        build_args=values.pairs("--build-arg", given.build_arg, os.environ),
        contexts=contexts,
    )


def _summary(file: df.Dockerfile, warnings: int) -> str:
    count = sum(len(stage.instructions) for stage in file.stages)
    found = f"no error, {_counted(warnings, 'warning')}" if warnings else "no error found"
    return f"{file.name}: {found} in {_counted(len(file.stages), 'stage')}, {_counted(count, 'instruction')}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
