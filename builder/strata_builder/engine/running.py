"""Carrying out a RUN: who runs what, with which mounts, and what its end means."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context.tree import Tree
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import buildargs, keys, metadata, mounting, stepoutput, steps
from strata_builder.engine.options import Options
from strata_builder.engine.roots import Root
from strata_builder.rootfs import users, view
from strata_builder.sandbox import command, ids

if TYPE_CHECKING:
    from strata_builder.engine.execute import Edges


def origin_key(
    mount: ins.Mount, origin: steps.Origin | None, layers: mounting.Layers, tree: Callable[[steps.Origin], Tree]
) -> str:
    """What a mount shows, by its content: for a RUN's content key. `tree` gives the files of a stage or image.

    Where its source is none that is there, all of the stage or image counts; the step will say what is wrong."""
    source = mount.source or "."
    if isinstance(origin, steps.FromTree):
        return keys.tree_id(origin, source)
    if origin is None:
        return ""
    with contextlib.suppress(errors.BuildError):
        return keys.shown_by(tree(origin), source)
    return keys.of_layers(layers(origin))


class Runner:
    """One RUN. `layers` gives those of the stage or image that a mount reads."""

    def __init__(self, step: steps.Step, options: Options, edges: Edges, layers: mounting.Layers) -> None:
        assert isinstance(step.instruction, ins.Run)
        self.step, self.options, self.edges = step, options, edges
        self.instruction: ins.Run = step.instruction
        self.mounts = mounting.Mounts(step, options, edges, layers)

    def run(self, root: Root, lower: view.View, label: str) -> None:
        """Raises RunFailed, OutOfMemory, DeadlineExceeded, Cancelled."""
        self._refuse_what_is_missing()
        output = stepoutput.StepOutput(self.mounts.secrets(), lambda data: self.edges.report.output(label, data))
        with contextlib.ExitStack() as stack:
            wanted = self._command(lower, stack)
            timeout = None if self.edges.deadline is None else max(0.0, self.edges.deadline - self.edges.clock())
            ended = root.run(wanted, output=output.write, timeout=timeout, cancel=self.edges.cancel)
        output.finish()
        if ended.exit_code != 0:
            self._fail(
                ended, output, timed_out=timeout is not None and self.edges.clock() >= (self.edges.deadline or 0)
            )

    def _refuse_what_is_missing(self) -> None:
        if self.instruction.security not in ("", "sandbox"):
            raise errors.NotSupported(
                f"--security={self.instruction.security} is refused: no step gets more rights than its sandbox has",
                place=self.step.place,
                hint="remove --security, or do the privileged part outside of the build",
            )

    def _command(self, lower: view.View, stack: contextlib.ExitStack) -> command.Command:
        who = users.identity(lower, self.step.config.user or "0")
        mounts = [mount for mount, _ in self.step.mounts]
        ids.require([who.uid, *(m.uid or 0 for m in mounts)], [who.gid, *who.groups, *(m.gid or 0 for m in mounts)])
        env = {"HOME": who.home, **self.step.proxies, **self.step.environment}
        env.pop("", None)  # an image may have one without a name, which no program could ask for
        if self.options.source_date_epoch is not None:
            env["SOURCE_DATE_EPOCH"] = str(self.options.source_date_epoch)
        argv, script = self._argv()
        env |= self.mounts.environment()
        if agent := self.mounts.agent_socket():
            env.setdefault("SSH_AUTH_SOCK", agent)
        wanted = command.Command(
            argv=argv,
            env=env,
            cwd=os.fsencode(self.step.workdir),
            uid=who.uid,
            gid=who.gid,
            groups=who.groups,
            network=self.step.network(self.options.network),
            mounts=(*script, *self.mounts.specs(stack)),
            hostname=buildargs.hostname(self.options.build_args) or command.HOSTNAME,
        )
        _require_whole_words(wanted)
        return wanted

    def _argv(self) -> tuple[tuple[str, ...], tuple[command.MountSpec, ...]]:
        """With the file that is to be run, if the RUN is a script with an interpreter of its own."""
        script = df.script_of(self.instruction) if self.instruction.shell else None
        if script is None or not script.interpreted:
            return metadata.argv(self.instruction, self.step.config), ()
        target = f"/dev/pipes/{script.name}"
        content = script.command.encode("utf-8", "surrogateescape")
        return (target,), (command.MountSpec(kind="secret", target=os.fsencode(target), content=content, mode=0o755),)

    def _fail(self, ended: command.Outcome, output: stepoutput.StepOutput, *, timed_out: bool) -> NoReturn:
        if timed_out:
            raise errors.DeadlineExceeded("the build's time was up while this step ran", place=self.step.place)
        if self.edges.cancel.is_set():
            raise errors.Cancelled("the build was cancelled while this step ran", place=self.step.place)
        if ended.oom:
            raise errors.OutOfMemory(
                f"the step was killed for want of memory\n{output.tail()}".rstrip(),
                place=self.step.place,
                hint="raise the memory limit (spec.pod.resources of an ImageBuild), or make the step use less",
            )
        raise errors.RunFailed(
            f"the command ended with exit code {ended.exit_code}\n{output.tail()}".rstrip(),
            exit_code=ended.exit_code,
            output=output.tail(),
            place=self.step.place,
        )


def _require_whole_words(wanted: command.Command) -> None:
    """A word of a program ends at its first NUL byte. A Dockerfile has none; base images and build arguments may.

    Raises DockerfileError."""
    words = {"the command": "".join(wanted.argv), "the working directory": os.fsdecode(wanted.cwd)}
    words |= {"the target of a mount": "".join(os.fsdecode(mount.target) for mount in wanted.mounts)}
    words |= {f"the variable {name!r}": name + value for name, value in wanted.env.items()}
    for what, text in words.items():
        if "\0" in text:
            raise errors.DockerfileError(
                f"{what} holds a NUL byte, which no program can be given",
                hint="take it out where it comes from: the config of the base image, or a build argument",
            )
