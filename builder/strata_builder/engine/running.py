"""Carrying out a RUN: who runs what, with which mounts, and what its end means."""

from __future__ import annotations

import collections
import contextlib
import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context.tree import Tree
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import buildargs, exporting, keys, metadata, steps
from strata_builder.engine.options import Options
from strata_builder.engine.roots import Root
from strata_builder.frozen import replace
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import users, view
from strata_builder.sandbox import command

if TYPE_CHECKING:
    from strata_builder.engine.execute import Edges

TAIL_LINES = 20
SHORTEST_MASKED = 6  # bytes; masking "a" would make every line unreadable and hide nothing
Layers = Callable[["steps.Origin | None"], Sequence[LayerRef]]


def origin_key(
    mount: ins.Mount, origin: steps.Origin | None, layers: Layers, tree: Callable[[steps.Origin], Tree]
) -> str:
    """What a mount shows, by its content: for a RUN's content key. `tree` gives the files of a stage or image.

    Where its source is none that can be looked up, all of the stage or image counts; the step will say what is wrong."""
    source = mount.source or "."
    if isinstance(origin, steps.FromTree):
        return keys.tree_id(origin, source)
    if origin is None:
        return ""
    if not df.has_wildcard(source):
        with contextlib.suppress(errors.BuildError):
            return keys.shown_by(tree(origin), source)
    return keys.of_layers(layers(origin))


class Runner:
    """One RUN. `layers` gives those of the stage or image that a mount reads."""

    def __init__(self, step: steps.Step, options: Options, edges: Edges, layers: Layers) -> None:
        assert isinstance(step.instruction, ins.Run)
        self.step, self.options, self.edges, self.layers = step, options, edges, layers
        self.instruction: ins.Run = step.instruction

    def run(self, root: Root, lower: view.View, label: str) -> None:
        """Raises RunFailed, OutOfMemory, DeadlineExceeded, Cancelled."""
        self._refuse_what_is_missing()
        output = _Output(self._secrets_in_use(), lambda data: self.edges.report.output(label, data))
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
        env = {"HOME": who.home, **self.step.proxies, **self.step.environment}
        if self.options.source_date_epoch is not None:
            env["SOURCE_DATE_EPOCH"] = str(self.options.source_date_epoch)
        argv, script = self._argv()
        mounts = [script] if script else []
        for mount, origin in self.step.mounts:
            if mount.type == "secret" and mount.env:
                env |= self._secret_env(mount)
            if mount.type == "ssh" and self._agent(mount):
                env.setdefault("SSH_AUTH_SOCK", os.fsdecode(self._agent_target(mount)))
            if mount.type != "secret" or mount.target or not mount.env:
                mounts += self._mount(mount, origin, stack)
        return command.Command(
            argv=argv,
            env=env,
            cwd=os.fsencode(self.step.workdir),
            uid=who.uid,
            gid=who.gid,
            groups=who.groups,
            network=self.step.network(self.options.network),
            mounts=tuple(mounts),
            hostname=buildargs.hostname(self.options.build_args) or command.HOSTNAME,
        )

    def _argv(self) -> tuple[tuple[str, ...], command.MountSpec | None]:
        script = df.script_of(self.instruction) if self.instruction.shell else None
        if script is None or not script.interpreted:
            return metadata.argv(self.instruction, self.step.config), None
        target = f"/dev/pipes/{script.name}"
        content = script.command.encode("utf-8", "surrogateescape")
        return (target,), command.MountSpec(kind="secret", target=os.fsencode(target), content=content, mode=0o755)

    # mounts

    def _mount(
        self, mount: ins.Mount, origin: steps.Origin | None, stack: contextlib.ExitStack
    ) -> list[command.MountSpec]:
        target = os.fsencode(posixpath.normpath(posixpath.join("/", self.step.workdir, mount.target)))
        if mount.type == "bind":
            return [self._bind(mount, origin, target, stack)]
        if mount.type == "cache":
            return [self._cache(mount, origin, target, stack)]
        if mount.type == "tmpfs":
            return [command.MountSpec(kind="tmpfs", target=target, size=mount.size or 0, mode=0o1777, readonly=False)]
        if mount.type == "secret":
            return self._secret(mount)
        return self._ssh(mount, stack)

    def _bind(
        self, mount: ins.Mount, origin: steps.Origin | None, target: bytes, stack: contextlib.ExitStack
    ) -> command.MountSpec:
        path = stack.enter_context(self._source(mount, origin))
        return command.MountSpec(kind="bind", target=target, source=path, readonly=mount.readonly)

    @contextlib.contextmanager
    def _source(self, mount: ins.Mount, origin: steps.Origin | None) -> Iterator[exporting.Path]:
        """A path on this machine that holds what the mount shows, for as long as the step runs."""
        if isinstance(origin, steps.FromTree):
            with exporting.exported(
                origin.tree, mount.source or ".", keys.context_name(origin), self.edges.scratch
            ) as path:
                yield path
            return
        assert self.edges.roots is not None
        with self.edges.roots.show(self.layers(origin)) as merged:
            yield exporting.inside(
                merged, mount.source or ".", self.edges.blobs.view(self.layers(origin)), self.step.place
            )

    def _cache(
        self, mount: ins.Mount, origin: steps.Origin | None, target: bytes, stack: contextlib.ExitStack
    ) -> command.MountSpec:
        assert self.edges.roots is not None
        seed = stack.enter_context(self._source(mount, origin)) if mount.from_ else None
        return command.MountSpec(
            kind="cache",
            target=target,
            source=seed,
            id=buildargs.cache_id(replace(mount, target=os.fsdecode(target)), self.options.build_args),
            sharing=mount.sharing or "shared",
            uid=mount.uid or 0,
            gid=mount.gid or 0,
            mode=0o755 if mount.mode is None else mount.mode,
            readonly=mount.readonly,
        )

    # secrets

    def _secret(self, mount: ins.Mount) -> list[command.MountSpec]:
        content = self._secret_content(mount)
        if content is None:
            return []
        target = mount.target or f"/run/secrets/{_secret_id(mount)}"
        path = os.fsencode(posixpath.normpath(posixpath.join("/", self.step.workdir, target)))
        mode = 0o400 if mount.mode is None else mount.mode
        return [
            command.MountSpec(
                kind="secret", target=path, content=content, mode=mode, uid=mount.uid or 0, gid=mount.gid or 0
            )
        ]

    def _secret_env(self, mount: ins.Mount) -> dict[str, str]:
        content = self._secret_content(mount)
        return {} if content is None else {mount.env: os.fsdecode(content)}

    def _secret_content(self, mount: ins.Mount) -> bytes | None:
        found = self.options.secrets.get(_secret_id(mount))
        if found is None and mount.required:
            raise errors.InvalidSpec(
                f"the secret {_secret_id(mount)!r} is required by a RUN and was not given",
                place=self.step.place,
                hint=f"give it: `strata build --secret id={_secret_id(mount)},src=FILE`, or spec.secrets of the ImageBuild",
            )
        return found

    # agents

    def _agent(self, mount: ins.Mount) -> exporting.Path | None:
        found = self.options.ssh.get(mount.id or "default")
        if found is None and mount.required:
            raise errors.InvalidSpec(
                f"the ssh agent {mount.id or 'default'!r} is required by a RUN and was not given",
                place=self.step.place,
                hint=f"give it: `strata build --ssh {mount.id or 'default'}`; builds in a cluster have no agent: "
                "use a secret mount with a deploy key there",
            )
        return found

    def _agent_target(self, mount: ins.Mount) -> bytes:
        """Where it is seen; those without a target are numbered as BuildKit does."""
        number = [each for each, _ in self.step.mounts if each.type == "ssh"].index(mount)
        target = mount.target or f"/run/buildkit/ssh_agent.{number}"
        return os.fsencode(posixpath.normpath(posixpath.join("/", self.step.workdir, target)))

    def _ssh(self, mount: ins.Mount, stack: contextlib.ExitStack) -> list[command.MountSpec]:
        """A socket of the step's own before the agent; none where none was given."""
        from strata_builder.sandbox import agent

        found = self._agent(mount)
        if found is None:
            name = mount.id or "default"
            self.edges.report.note(
                f"{self.step.place}: no ssh agent {name!r} was given (--ssh {name}): RUN goes without"
            )
            return []
        place = self.edges.scratch / f"agent-{os.urandom(16).hex()}"
        mode = 0o600 if mount.mode is None else mount.mode
        socket = agent.forwarded(found, place, mode=mode, uid=mount.uid or 0, gid=mount.gid or 0)
        target = self._agent_target(mount)
        return [command.MountSpec(kind="ssh", target=target, source=stack.enter_context(socket))]

    def _secrets_in_use(self) -> tuple[bytes, ...]:
        ids = [_secret_id(mount) for mount, _ in self.step.mounts if mount.type == "secret"]
        found = [line for name in ids for line in self.options.secrets.get(name, b"").split(b"\n")]
        return tuple(sorted({v.strip() for v in found if len(v.strip()) >= SHORTEST_MASKED}, key=len, reverse=True))

    # the end

    def _fail(self, ended: command.Outcome, output: _Output, *, timed_out: bool) -> NoReturn:
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


def _secret_id(mount: ins.Mount) -> str:
    """`source` is another word for it, as BuildKit has it."""
    return mount.source or mount.id or posixpath.basename(mount.target)


class _Output:
    """Passes a step's output on line by line, secrets masked, and remembers its end."""

    def __init__(self, secrets: tuple[bytes, ...], sink: Callable[[bytes], None]) -> None:
        self._secrets, self._sink = secrets, sink
        self._rest = b""
        self._lines: collections.deque[bytes] = collections.deque(maxlen=TAIL_LINES)

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line + b"\n")
        if len(self._rest) > 65536:
            self.finish()

    def finish(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            self._line(rest)

    def tail(self) -> str:
        return b"".join(self._lines).decode("utf-8", "replace").rstrip()

    def _line(self, line: bytes) -> None:
        for secret in self._secrets:
            line = line.replace(secret, b"***")
        self._lines.append(line[-2048:])
        self._sink(line)
