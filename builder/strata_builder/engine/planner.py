"""Dockerfile and options -> plan: what must be built, each step with its variables expanded. Pure but for `Images`.

Of stages that the target does not need only the FROM line is looked at, so a broken one does no harm.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Final, Protocol, TypedDict, cast

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import contexts, effort, epochs, folderbase, history, metadata, scope, steps, watching
from strata_builder.engine.contexts import ImageContext, TreeContext
from strata_builder.engine.options import Options
from strata_builder.frozen import field, frozen, replace
from strata_builder.oci.errors import PlatformInvalid
from strata_builder.oci.image import ImageConfig
from strata_builder.oci.platform import Platform

_MAX_PATH: Final = 4095


class Images(Protocol):
    """Where base images come from."""

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        """The image behind `reference` for `platform`. Raises BaseImageNotFound and what the registry raises."""
        ...


class _Language(TypedDict):
    escape: str
    file: str
    source: str


def make(dockerfile: df.Dockerfile, options: Options, images: Images) -> steps.Plan:
    """The plan for `options.target` (a stage's name or number; empty = the last).

    Raises DockerfileError, and PlatformInvalid for Windows, whose paths, shell and layers are others.
    """
    if options.platform.os == "windows":
        raise PlatformInvalid(f"no image for {options.platform} can be built here", hint="build it for linux")
    planner = _Planner(dockerfile, options, images)
    for stage in dockerfile.stages:
        planner.base(stage)
    target = planner.target()
    for stage in planner.needed(target):
        planner.stage(stage)
    made = {index: planner.done[index] for index in sorted(planner.done)}
    return steps.Plan(made, target.index, tuple(planner.bases.values()))


def check(dockerfile: df.Dockerfile, options: Options, images: Images, watch: watching.Watch) -> None:
    """Plans the target, or every stage where none is named, and tells `watch` of each instruction.

    Raises DockerfileError, after which nothing more is told.
    """
    planner = _Planner(dockerfile, options, images, watch=watch)
    for stage in dockerfile.stages:
        planner.base(stage)
    for stage in [planner.target()] if options.target else dockerfile.stages:
        planner.stage(stage)


def outer(dockerfile: df.Dockerfile, options: Options) -> Mapping[str, str]:
    """What the FROM lines see: the platform's arguments and the ARGs before the first FROM. Raises DockerfileError."""
    return _Planner(dockerfile, options, _NoImages()).outer


class _NoImages:
    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        raise NotImplementedError(f"{reference} for {platform}")


@frozen
class _Planner:
    dockerfile: df.Dockerfile
    options: Options
    images: Images
    done: dict[int, steps.Stage] = field(default_factory=dict)
    bases: dict[tuple[str, Platform], steps.Base] = field(default_factory=dict)
    outer: dict[str, str] = field(default_factory=dict)
    watch: watching.Watch = field(default_factory=watching.Watch)
    effort: effort.Effort = field(default_factory=effort.Effort)

    def __post_init__(self) -> None:
        if not self.dockerfile.stages:
            raise errors.DockerfileError(
                f"{self.dockerfile.name} has no stage",
                hint="a Dockerfile needs a FROM, for example `FROM debian:bookworm-slim` or `FROM scratch`",
            )
        self.outer.update(self._meta_args())

    def target(self) -> df.Stage:
        if not self.options.target:
            return self.dockerfile.stages[-1]
        found = df.find_stage(self.dockerfile, self.options.target, before=None)
        if found is None:
            names = ", ".join(s.name for s in self.dockerfile.stages if s.name) or "none has a name"
            raise errors.DockerfileError(
                f"target stage {self.options.target!r} is not in {self.dockerfile.name}", hint=f"stages: {names}"
            )
        return found

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
        image = self.base(stage).image
        if (base := df.find_base(self.dockerfile, image, stage.index)) is not None and self.context(image) is None:
            yield base
        for name in _read_by(stage):
            # A name that is wrong is told of where the step is planned.
            with contextlib.suppress(errors.DockerfileError):
                other = df.find_stage(self.dockerfile, name, before=stage.index)
                if other is not None and self.context(name) is None:
                    yield other

    def context(self, name: str) -> contexts.NamedContext | None:
        return contexts.find(self.options.contexts, name)

    def stage(self, wanted: df.Stage) -> steps.Stage:
        if wanted.index not in self.done:
            self.done[wanted.index] = _StagePlanner(self, wanted).plan()
        return self.done[wanted.index]

    def base(self, stage: df.Stage) -> ins.From:
        """The FROM of a stage with its variables expanded; checked for every stage of the file, needed or not."""
        resolved = df.resolve(stage.from_, self.outer, **self.language)
        place = df.place(self.dockerfile, stage.from_.span, stage.from_.platform)
        if stage.from_.platform and not resolved.platform:
            raise errors.DockerfileError(
                f"the platform is empty: {stage.from_.platform!r} expands to nothing",
                place=place,
                hint="give its variable a value, or a default as in ${NAME:-linux/amd64}",
            )
        try:
            if resolved.platform:
                Platform.parse(resolved.platform)
        except errors.BuildError as e:
            raise errors.DockerfileError(e.message, place=place, hint=e.hint) from None
        return resolved

    def base_image(self, reference: str, platform: Platform, place: Callable[[], errors.Place]) -> steps.Base:
        key = (reference, platform)
        if key not in self.bases:
            try:
                self.bases[key] = self.images.resolve(reference, platform)
            except errors.BuildError as e:
                e.place = e.place or place()
                raise
        return self.bases[key]

    def _meta_args(self) -> dict[str, str]:
        """ARGs before the first FROM, with the platform's own: what FROM lines see, and what a stage's ARG may name."""
        target = self.options.target or self.dockerfile.stages[-1].name or "default"
        values = scope.platform_args(self.options.platform, self.options.build_platform, target)
        values.update({name: value for name, value in self.options.build_args.items() if name in values})
        for arg in self.dockerfile.meta_args:
            values |= self.arguments(arg, values, {})[0]
            self.effort.take(len(values), df.place(self.dockerfile, arg.span))
        return values

    def arguments(
        self, arg: ins.Arg, visible: Mapping[str, str], outer: Mapping[str, str]
    ) -> tuple[dict[str, str], frozenset[str]]:
        """The names of an ARG that have a value: the build's argument, else the default, else the outer scope's.

        With them the names that defaults asked for in vain.
        """
        found: dict[str, str] = {}
        missed: set[str] = set()
        before: set[str] = set()
        for name, default in arg.pairs:
            given = self.options.build_args.get(name, outer.get(name) if default is None else None)
            one = replace(arg, pairs=((name, default),))
            seen = watching.Noting(ChainMap(found, cast(MutableMapping[str, str], visible)))
            made = df.resolve_arg(one, seen, {} if given is None else {name: given}, **self.language)
            found |= {name: value for name, value in made.pairs if value is not None}
            missed |= seen.missed - before
            before.add(name)
        return found, frozenset(missed)

    @property
    def language(self) -> _Language:
        return {"escape": self.dockerfile.escape, "file": self.dockerfile.name, "source": self.dockerfile.source}


def _read_by(stage: df.Stage) -> Iterator[str]:
    """What the steps of a stage name as stages or images to read from."""
    for instruction in stage.instructions:
        if isinstance(instruction, ins.Copy) and instruction.from_:
            yield instruction.from_
        elif isinstance(instruction, ins.Run):
            yield from (mount.from_ for mount in instruction.mounts if mount.from_)


class _StagePlanner:
    """Walks one stage's instructions; what a later instruction sees of the earlier ones is in `scope` and `config`."""

    def __init__(self, planner: _Planner, stage: df.Stage) -> None:
        self.planner = planner
        self.source = stage
        self.made: list[steps.Step] = []
        self.own_cmd = False
        self.running = ImageConfig.scratch(planner.options.platform)

    def plan(self) -> steps.Stage:
        replaced = self.source.name if self.planner.context(self.source.name or "") else None
        base, base_config, self.scope = self._base(replaced)
        self.planner.watch.begins(self.source, base)
        self.config = base_config.with_(onbuild=None)
        if isinstance(base, steps.FromTree):
            place = df.place(self.planner.dockerfile, self.source.from_.span)
            self.made.append(folderbase.step(base, self.source.from_, self.config, place))
            base = steps.FromScratch()
        if not replaced:
            self._walk(base_config.onbuild)
        name = self.source.name or ""
        stage = steps.Stage(self.source.index, name, base, base_config, tuple(self.made), self.config, self.scope)
        return self._result(stage) if stage.index == self.planner.target().index else stage

    def _walk(self, triggers: Sequence[str]) -> None:
        for trigger in triggers:
            self._fire(trigger)
        for instruction in self.source.instructions:
            self._add(instruction)

    def _fire(self, trigger: str) -> None:
        """Of a trigger only the text is kept, and so it has the usual escape character whatever its file had."""
        try:
            self._add(df.parse_instruction(trigger, span=self.source.from_.span, file=self.planner.dockerfile.name))
        except errors.DockerfileError as e:
            place = df.place(self.planner.dockerfile, self.source.from_.span)
            message = f"{e.message}, in what its base has for ONBUILD: {df.printable(trigger)[:200]}"
            raise errors.DockerfileError(message, place=place, hint=e.hint) from None

    def _result(self, stage: steps.Stage) -> steps.Stage:
        """The target's stage with what the options say of the whole image."""
        options = self.planner.options
        config = stage.config.with_(labels=stage.config.labels | dict(options.labels))
        return replace(
            stage, config=config if options.platform_of_base else metadata.for_platform(config, options.platform)
        )

    # the base

    def _base(self, replaced: str | None) -> tuple[steps.Origin, ImageConfig, scope.Scope]:
        """With `replaced` the stage is that named context: nothing of what it says is done."""
        options = self.planner.options
        resolved = self.planner.base(self.source)
        origin = self._origin(replaced or resolved.image, self.source.from_, platform=resolved.platform)
        if isinstance(origin, steps.FromStage):
            parent = self.planner.done[origin.index]
            return origin, parent.config, parent.scope.inherited()
        if isinstance(origin, steps.FromImage):
            config = origin.base.image.config
        else:
            config = ImageConfig.scratch(options.platform).with_(workdir="/")
        if "PATH" not in metadata.environment(config):
            config = config.with_(env=[*config.env, f"PATH={metadata.DEFAULT_PATH}"])
        return origin, config, scope.Scope.of_image(metadata.environment(config))

    def _origin(self, name: str, asking: ins.Instruction, *, platform: str = "") -> steps.Origin:
        """Whatever `name` is: a named context, `scratch`, an earlier stage or an image."""

        def place() -> errors.Place:
            """Looked for only where something is wrong: an instruction may have a thousand mounts."""
            return df.place(self.planner.dockerfile, asking.span, name)

        if not name:
            raise errors.DockerfileError("the name of the base is empty once its variables are expanded", place=place())
        context = self.planner.context(name)
        if isinstance(context, TreeContext):
            return steps.FromTree(name, context.tree)
        wanted = Platform.parse(platform) if platform else self.planner.options.platform
        if isinstance(context, ImageContext) and context.reference != "scratch":
            return steps.FromImage(self.planner.base_image(context.reference, wanted, place))
        stage = None if context else self._stage(name, asking)
        if stage is not None:
            self.planner.stage(stage)
            return steps.FromStage(stage.index)
        if context or name == "scratch":
            return steps.FromScratch()
        base = self.planner.base_image(name, wanted, place)
        self.planner.watch.pulls(asking, base, wanted)
        return steps.FromImage(base)

    def _stage(self, name: str, asking: ins.Instruction) -> df.Stage | None:
        if isinstance(asking, ins.From):
            return df.find_base(self.planner.dockerfile, name, self.source.index)
        return df.find_stage(self.planner.dockerfile, name, before=self.source.index, asking=asking)

    # the steps

    def _add(self, instruction: ins.Instruction) -> None:
        place = df.place(self.planner.dockerfile, instruction.span)
        if isinstance(instruction, ins.Arg):
            self._arg(instruction)
            return
        visible = watching.Noting(self.scope.visible)
        resolved = df.resolve(instruction, visible, **self.planner.language)
        self._watched(instruction, resolved, visible.missed)
        if isinstance(resolved, ins.Workdir):
            resolved = replace(resolved, path=self._workdir(resolved.path, place))
        if isinstance(resolved, ins.Run):
            file = self.planner.dockerfile
            resolved = df.resolve_targets(resolved, self.config.workdir, file=file.name, source=file.source)
        if isinstance(resolved, ins.Env):
            self.scope = self.scope.with_env(resolved.pairs)
        before = self.config
        self.config = metadata.apply(before, resolved, own_cmd=self.own_cmd)
        self.own_cmd |= isinstance(resolved, ins.Cmd)
        step = self._step(resolved, before, place)
        self.planner.effort.of_step(step, self.config, self.scope)
        self.made.append(step)

    def _workdir(self, written: str, place: errors.Place) -> str:
        path = posixpath.normpath(posixpath.join("/", self.config.workdir, written))
        if len(path) > _MAX_PATH:
            message = f"the working directory has a path of {len(path)} characters, more than Linux takes ({_MAX_PATH})"
            raise errors.DockerfileError(message, place=place, hint="a relative WORKDIR continues the one before")
        return "/" + path.lstrip("/")

    def _step(self, instruction: ins.Instruction, before: ImageConfig, place: errors.Place) -> steps.Step:
        step = steps.Step(
            instruction=instruction,
            created_by=history.created_by(instruction, before, self.scope.args),
            config=self._running(self.config),
            workdir=before.workdir or "/",
            place=place,
        )
        if isinstance(instruction, ins.Run):
            if not self.planner.options.runs:
                raise errors.NeedsSandbox("RUN needs a sandbox, and this build has none", place=place)
            proxies = scope.proxies(self.planner.options.build_args)
            mounts = tuple((mount, self._mount_origin(mount, instruction)) for mount in instruction.mounts)
            return replace(step, environment=self.scope.environment(), proxies=proxies, mounts=mounts)
        if isinstance(instruction, ins.Copy) and instruction.from_ is not None:
            return replace(step, origin=self._origin(instruction.from_, instruction))
        if isinstance(instruction, ins.Copy | ins.Add):
            return replace(step, origin=steps.FromTree("", self.planner.options.context))
        return step

    def _running(self, config: ImageConfig) -> ImageConfig:
        """What a step is done by; kept with each step, and so no more than that."""
        made = metadata.running(config)
        self.running = self.running if self.running == made else made
        return self.running

    def _mount_origin(self, mount: ins.Mount, asking: ins.Instruction) -> steps.Origin | None:
        if mount.from_:
            return self._origin(mount.from_, asking)
        return steps.FromTree("", self.planner.options.context) if mount.type == "bind" else None

    def _watched(self, written: ins.Instruction, resolved: ins.Instruction, missed: frozenset[str]) -> None:
        seen = watching.Seen(self.source, written, resolved, self.config, missed, self.scope.visible)
        self.planner.watch.sees(seen)

    def _arg(self, instruction: ins.Arg) -> None:
        outer = epochs.told(self.planner.outer, self.planner.options.source_date_epoch)
        values, missed = self.planner.arguments(instruction, self.scope.visible, outer)
        self._watched(instruction, instruction, missed)
        self.scope = self.scope.with_args(values)
        place = df.place(self.planner.dockerfile, instruction.span)
        self.planner.effort.take(len(self.scope.visible) + effort.text(values.values()), place)
