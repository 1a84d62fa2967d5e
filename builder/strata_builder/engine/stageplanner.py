"""One stage's instructions -> its steps: each with its variables expanded, and with what it reads from."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import effort, epochs, folderbase, history, lengths, metadata, scope, steps, watching
from strata_builder.engine.contexts import ImageContext, TreeContext
from strata_builder.engine.filescope import FileScope
from strata_builder.frozen import replace
from strata_builder.oci.image import ImageConfig
from strata_builder.oci.platform import Platform


class StagePlanner:
    """Walks one stage's instructions; what a later instruction sees of the earlier ones is in `scope` and `config`."""

    def __init__(self, file: FileScope, stage: df.Stage, planned: Callable[[df.Stage], steps.Stage]) -> None:
        """`planned` gives an earlier stage, planned by then."""
        self.file = file
        self.source = stage
        self.planned = planned
        self.made: list[steps.Step] = []
        self.own_cmd = False
        self.running = ImageConfig.scratch(file.options.platform)

    def plan(self) -> steps.Stage:
        replaced = self.source.name if self.file.context(self.source.name or "") else None
        base, base_config, self.scope = self._base(replaced)
        self.file.watch.begins(self.source, base)
        self.config = base_config.with_(onbuild=None)
        if isinstance(base, steps.FromTree):
            place = df.place(self.file.dockerfile, self.source.from_.span)
            self.made.append(folderbase.step(base, self.source.from_, self.config, place))
            base = steps.FromScratch()
        if not replaced:
            self._walk(base_config.onbuild)
        name = self.source.name or ""
        stage = steps.Stage(self.source.index, name, base, base_config, tuple(self.made), self.config, self.scope)
        return self._result(stage) if stage.index == self.file.target().index else stage

    def _walk(self, triggers: Sequence[str]) -> None:
        for trigger in triggers:
            self._fire(trigger)
        for instruction in self.source.instructions:
            self._add(instruction)

    def _fire(self, trigger: str) -> None:
        """Of a trigger only the text is kept, and so it has the usual escape character whatever its file had."""
        try:
            self._add(df.parse_instruction(trigger, span=self.source.from_.span, file=self.file.dockerfile.name))
        except errors.DockerfileError as e:
            place = df.place(self.file.dockerfile, self.source.from_.span)
            message = f"{e.message}, in what its base has for ONBUILD: {df.printable(trigger)[:200]}"
            raise errors.DockerfileError(message, place=place, hint=e.hint) from None

    def _result(self, stage: steps.Stage) -> steps.Stage:
        """The target's stage with what the options say of the whole image."""
        options = self.file.options
        config = stage.config.with_(labels=stage.config.labels | dict(options.labels))
        return replace(
            stage, config=config if options.platform_of_base else metadata.for_platform(config, options.platform)
        )

    # the base

    def _base(self, replaced: str | None) -> tuple[steps.Origin, ImageConfig, scope.Scope]:
        """With `replaced` the stage is that named context: nothing of what it says is done."""
        options = self.file.options
        resolved = self.file.base(self.source)
        origin = self._origin(replaced or resolved.image, self.source.from_, platform=resolved.platform)
        if isinstance(origin, steps.FromStage):
            parent = self.planned(self.file.dockerfile.stages[origin.index])
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
            return df.place(self.file.dockerfile, asking.span, name)

        if not name:
            raise errors.DockerfileError("the name of the base is empty once its variables are expanded", place=place())
        context = self.file.context(name)
        if isinstance(context, TreeContext):
            return steps.FromTree(name, context.tree)
        wanted = Platform.parse(platform) if platform else self.file.options.platform
        if isinstance(context, ImageContext) and context.reference != "scratch":
            return steps.FromImage(self.file.base_image(context.reference, wanted, place))
        stage = None if context else self._stage(name, asking)
        if stage is not None:
            self.planned(stage)
            return steps.FromStage(stage.index)
        if context or name == "scratch":
            return steps.FromScratch()
        base = self.file.base_image(name, wanted, place)
        self.file.watch.pulls(asking, base, wanted)
        return steps.FromImage(base)

    def _stage(self, name: str, asking: ins.Instruction) -> df.Stage | None:
        if isinstance(asking, ins.From):
            return df.find_base(self.file.dockerfile, name, self.source.index)
        return df.find_stage(self.file.dockerfile, name, before=self.source.index, asking=asking)

    # the steps

    def _add(self, instruction: ins.Instruction) -> None:
        place = df.place(self.file.dockerfile, instruction.span)
        if isinstance(instruction, ins.Arg):
            self._arg(instruction)
            return
        visible = watching.Noting(self.scope.visible)
        resolved = df.resolve(instruction, visible, **self.file.language)
        self._watched(instruction, resolved, visible.missed)
        if isinstance(resolved, ins.Workdir):
            resolved = replace(resolved, path=self._workdir(resolved.path, place))
        if isinstance(resolved, ins.Run):
            whole = self.file.dockerfile
            resolved = df.resolve_targets(resolved, self.config.workdir, file=whole.name, source=whole.source)
        if isinstance(resolved, ins.Env):
            self.scope = self.scope.with_env(resolved.pairs)
        before = self.config
        self.config = metadata.apply(before, resolved, own_cmd=self.own_cmd)
        self.own_cmd |= isinstance(resolved, ins.Cmd)
        step = self._step(resolved, before, place)
        self.file.effort.of_step(step, self.config, self.scope)
        self.made.append(step)

    def _workdir(self, written: str, place: errors.Place) -> str:
        path = posixpath.normpath(posixpath.join("/", self.config.workdir, written))
        lengths.check(path, "the working directory", place, hint="a relative WORKDIR continues the one before")
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
            if not self.file.options.runs:
                raise errors.NeedsSandbox("RUN needs a sandbox, and this build has none", place=place)
            proxies = scope.proxies(self.file.options.build_args)
            mounts = tuple((mount, self._mount_origin(mount, instruction)) for mount in instruction.mounts)
            return replace(step, environment=self.scope.environment(), proxies=proxies, mounts=mounts)
        if isinstance(instruction, ins.Copy | ins.Add):
            to = posixpath.normpath(posixpath.join("/", step.workdir, instruction.dest))
            lengths.check(to, "the destination", place)
            if isinstance(instruction, ins.Copy) and instruction.from_ is not None:
                return replace(step, origin=self._origin(instruction.from_, instruction))
            return replace(step, origin=steps.FromTree("", self.file.options.context))
        return step

    def _running(self, config: ImageConfig) -> ImageConfig:
        """What a step is done by; kept with each step, and so no more than that."""
        made = metadata.running(config)
        self.running = self.running if self.running == made else made
        return self.running

    def _mount_origin(self, mount: ins.Mount, asking: ins.Instruction) -> steps.Origin | None:
        if mount.from_:
            return self._origin(mount.from_, asking)
        return steps.FromTree("", self.file.options.context) if mount.type == "bind" else None

    def _watched(self, written: ins.Instruction, resolved: ins.Instruction, missed: frozenset[str]) -> None:
        seen = watching.Seen(self.source, written, resolved, self.config, missed, self.scope.visible)
        self.file.watch.sees(seen)

    def _arg(self, instruction: ins.Arg) -> None:
        outer = epochs.told(self.file.outer, self.file.options.source_date_epoch)
        values, missed = self.file.arguments(instruction, self.scope.visible, outer)
        self._watched(instruction, instruction, missed)
        self.scope = self.scope.with_args(values)
        place = df.place(self.file.dockerfile, instruction.span)
        self.file.effort.take(len(self.scope.visible) + effort.text(values.values()), place)
