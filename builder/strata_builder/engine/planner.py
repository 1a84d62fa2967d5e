"""Dockerfile and options -> plan: what must be built, each step with its variables expanded. Pure but for `Images`.

Of stages that the target does not need only the FROM line is looked at, so a broken one does no harm.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import steps, watching
from strata_builder.engine.filescope import FileScope, Images
from strata_builder.engine.options import Options
from strata_builder.engine.stageplanner import StagePlanner
from strata_builder.frozen import field, frozen
from strata_builder.oci.errors import PlatformInvalid
from strata_builder.oci.platform import Platform


def make(dockerfile: df.Dockerfile, options: Options, images: Images) -> steps.Plan:
    """The plan for `options.target` (a stage's name or number; empty = the last).

    Raises DockerfileError, and PlatformInvalid for Windows, whose paths, shell and layers are others.
    """
    if options.platform.os == "windows":
        raise PlatformInvalid(f"no image for {options.platform} can be built here", hint="build it for linux")
    planner = _Planner(FileScope(dockerfile, options, images))
    for stage in dockerfile.stages:
        planner.file.base(stage)
    target = planner.file.target()
    for stage in planner.needed(target):
        planner.stage(stage)
    made = {index: planner.done[index] for index in sorted(planner.done)}
    return steps.Plan(made, target.index, tuple(planner.file.bases.values()))


def check(dockerfile: df.Dockerfile, options: Options, images: Images, watch: watching.Watch) -> None:
    """Plans the target, or every stage where none is named, and tells `watch` of each instruction.

    Raises DockerfileError, after which nothing more is told.
    """
    planner = _Planner(FileScope(dockerfile, options, images, watch))
    for stage in dockerfile.stages:
        planner.file.base(stage)
    for stage in [planner.file.target()] if options.target else dockerfile.stages:
        planner.stage(stage)


def outer(dockerfile: df.Dockerfile, options: Options) -> Mapping[str, str]:
    """What the FROM lines see: the platform's arguments and the ARGs before the first FROM. Raises DockerfileError."""
    return FileScope(dockerfile, options, _NoImages()).outer


class _NoImages:
    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        raise NotImplementedError(f"{reference} for {platform}")


@frozen
class _Planner:
    file: FileScope
    done: dict[int, steps.Stage] = field(default_factory=dict)

    def needed(self, target: df.Stage) -> list[df.Stage]:
        """The target and what it needs as far as the file says, in order: so a long chain of stages is no recursion."""
        found: dict[int, df.Stage] = {}
        todo = [target]
        while todo:
            stage = todo.pop()
            if stage.index not in found:
                found[stage.index] = stage
                todo += self._named_by(stage)
        return [found[index] for index in sorted(found)]

    def _named_by(self, stage: df.Stage) -> Iterator[df.Stage]:
        image = self.file.base(stage).image
        if (base := df.find_base(self.file.dockerfile, image, stage.index)) is not None and self.file.context(
            image
        ) is None:
            yield base
        for name in _read_by(stage):
            # A name that is wrong is told of where the step is planned.
            with contextlib.suppress(errors.DockerfileError):
                other = df.find_stage(self.file.dockerfile, name, before=stage.index)
                if other is not None and self.file.context(name) is None:
                    yield other

    def stage(self, wanted: df.Stage) -> steps.Stage:
        if wanted.index not in self.done:
            self.done[wanted.index] = StagePlanner(self.file, wanted, self.stage).plan()
        return self.done[wanted.index]


def _read_by(stage: df.Stage) -> Iterator[str]:
    """What the steps of a stage name as stages or images to read from."""
    for instruction in stage.instructions:
        if isinstance(instruction, ins.Copy) and instruction.from_:
            yield instruction.from_
        elif isinstance(instruction, ins.Run):
            yield from (mount.from_ for mount in instruction.mounts if mount.from_)
