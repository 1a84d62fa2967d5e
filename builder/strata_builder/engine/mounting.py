"""What a RUN sees beside its root: binds, caches, scratch, secrets, agents."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import buildargs, exporting, keys, steps
from strata_builder.engine.options import Options
from strata_builder.frozen import replace
from strata_builder.oci.image import LayerRef
from strata_builder.sandbox import command

if TYPE_CHECKING:
    from strata_builder.engine.execute import Edges

SHORTEST_MASKED: Final = 6  # bytes; masking "a" would make every line unreadable and hide nothing
Layers = Callable[["steps.Origin | None"], Sequence[LayerRef]]


class Mounts:
    """Those of one RUN. `layers` gives those of the stage or image that a mount reads."""

    def __init__(self, step: steps.Step, options: Options, edges: Edges, layers: Layers) -> None:
        self.step, self.options, self.edges, self.layers = step, options, edges, layers

    def specs(self, stack: contextlib.ExitStack) -> list[command.MountSpec]:
        """For as long as `stack` is open. Raises BuildError for a source that is not there, a secret that was not given."""
        found: list[command.MountSpec] = []
        for mount, origin in self.step.mounts:
            if mount.type != "secret" or mount.target or not mount.env:
                found += self._of(mount, origin, stack)
        return found

    def environment(self) -> dict[str, str]:
        """Secrets that are asked for as variables. Raises InvalidSpec for one that was not given or can be none."""
        found: dict[str, str] = {}
        for mount, _ in self.step.mounts:
            if mount.type == "secret" and mount.env:
                found |= self._secret_env(mount)
        return found

    def agent_socket(self) -> str:
        """Where the first agent is seen, for SSH_AUTH_SOCK; "" without one."""
        for mount, _ in self.step.mounts:
            if mount.type == "ssh" and self._agent(mount):
                return os.fsdecode(self._agent_target(mount))
        return ""

    def secrets(self) -> tuple[bytes, ...]:
        """The lines of all secrets in use, the longest first: what must not be seen in the step's output."""
        ids = [_secret_id(mount) for mount, _ in self.step.mounts if mount.type == "secret"]
        found = [line for name in ids for line in self.options.secrets.get(name, b"").split(b"\n")]
        return tuple(sorted({v.strip() for v in found if len(v.strip()) >= SHORTEST_MASKED}, key=len, reverse=True))

    def _of(
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
        if content and b"\0" in content:
            raise errors.InvalidSpec(
                f"the secret {_secret_id(mount)!r} holds a NUL byte, which no variable can",
                place=self.step.place,
                hint="mount it as a file: target=/run/secrets/NAME in place of env=",
            )
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


def _secret_id(mount: ins.Mount) -> str:
    """`source` is another word for it, as BuildKit has it."""
    return mount.source or mount.id or posixpath.basename(mount.target)
