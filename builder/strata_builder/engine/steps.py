"""The plan of a build as values: stages, their bases, and steps whose variables are expanded. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from strata_builder import errors
from strata_builder.context.tree import Tree
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine.scope import Scope
from strata_builder.frozen import field, frozen
from strata_builder.oci.image import Image, ImageConfig
from strata_builder.oci.platform import Platform


@frozen
class Base:
    """An image that a build starts from or copies from: `name` as asked for, `digest` of its platform's manifest.

    `origin` says where its blobs are, in the terms of whoever resolved it (`Blobs` reads it).
    """

    name: str
    digest: str
    image: Image
    origin: str = ""

    def layer(self, digest: str) -> str:
        """For people: which of its layers has the blob `digest`; empty if none has."""
        digests = [layer.descriptor.digest for layer in self.image.layers]
        if digest not in digests:
            return ""
        return f"base image {self.name}: layer {digests.index(digest) + 1} of {len(digests)} ({digest})"


@frozen
class FromStage:
    index: int


@frozen
class FromImage:
    base: Base


@frozen
class FromTree:
    """The build context (`name` empty) or a named one."""

    name: str
    tree: Tree


@frozen
class FromScratch:
    pass


Origin = FromStage | FromImage | FromTree | FromScratch


@frozen
class Step:
    """One instruction with its variables expanded, and what it sees.

    `config` is the image's config after the step (without history); `environment` what a RUN gets, `proxies` aside,
    which are in no key. `origin` is where COPY and ADD take from, `mounts` those of RUN with theirs.
    """

    instruction: ins.Instruction
    created_by: str
    config: ImageConfig
    workdir: str
    place: errors.Place
    environment: Mapping[str, str] = field(default_factory=dict)
    proxies: Mapping[str, str] = field(default_factory=dict)
    origin: Origin | None = None
    mounts: tuple[tuple[ins.Mount, Origin | None], ...] = ()

    def network(self, of_build: str) -> str:
        """A RUN's own choice; `host` is what a build without a network of its own has anyway."""
        own = self.instruction.network if isinstance(self.instruction, ins.Run) else ""
        return "none" if "none" in (own, of_build) else "default"

    @property
    def touches_files(self) -> bool:
        return isinstance(self.instruction, ins.Copy | ins.Add | ins.Run | ins.Workdir)


@frozen
class Stage:
    index: int
    name: str
    base: Origin
    base_config: ImageConfig
    steps: tuple[Step, ...]
    config: ImageConfig
    scope: Scope

    @property
    def needs(self) -> frozenset[int]:
        """Indexes of the stages that must be there first, as a base or to be read from."""
        origins = [
            self.base,
            *(step.origin for step in self.steps),
            *(o for step in self.steps for _, o in step.mounts),
        ]
        return frozenset(origin.index for origin in origins if isinstance(origin, FromStage))


@frozen
class Plan:
    """The stages that the target needs, by index; every stage stands after those that it needs."""

    stages: Mapping[int, Stage]
    target: int
    bases: tuple[Base, ...]

    def has_run(self, origin: Origin | None) -> bool:
        """Whether a RUN has its part in what `origin` holds, directly or through what that was made from."""
        todo, seen = [origin], set[int]()
        while todo:
            found = todo.pop()
            if not isinstance(found, FromStage) or found.index in seen:
                continue
            seen.add(found.index)
            stage = self.stages[found.index]
            if any(isinstance(step.instruction, ins.Run) for step in stage.steps):
                return True
            todo += [stage.base, *(step.origin for step in stage.steps)]
        return False

    def layer(self, digest: str) -> str:
        """For people: the layer whose blob has `digest`, by the base image that it comes from; empty for another."""
        return next(filter(None, (base.layer(digest) for base in self.bases)), "")

    @property
    def runs(self) -> tuple[Step, ...]:
        return tuple(s for stage in self.stages.values() for s in stage.steps if isinstance(s.instruction, ins.Run))

    def foreign_run(self, host: Platform) -> Step | None:
        """The first RUN of a stage that is for another platform than `host`: FROM --platform= says which it is for."""
        return next((step for step in self.runs if not step.config.platform.matches(host)), None)
