"""The builders that are compared, each as its users run it: from a Dockerfile and a context to an image in a registry."""

from __future__ import annotations

import abc
import contextlib
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import costs
from differential.builds.oracle import Oracle
from support import programs

SCRATCH = Path("/dev/shm")
_BUILDER = Path(__file__).parents[2] / "builder"


class Failed(Exception):
    """A builder did not build; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Job:
    """One build: `image` is the reference to push, `cache` where builders that can keep their cache in the registry."""

    context: Path
    image: str
    cache: str


class Builder(abc.ABC):
    """One way to build; what it starts runs in `group`. `keeps`: what it has learnt is there in the next build;
    `links`: it is quicker with `COPY --link`."""

    keeps = True
    links = False

    def __init__(self, name: str, group: costs.Group) -> None:
        self.name = name
        self.group = group

    @abc.abstractmethod
    def between(self, *, cold: bool) -> None:
        """What happens before each build and is not counted; `cold`: it is to have learnt nothing."""

    @abc.abstractmethod
    def build(self, job: Job) -> None:
        """Raises Failed."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it and remove what it keeps on this machine."""


class Strata(Builder):
    """`strata build` in a new pod: nothing is there but what the registry has."""

    keeps = False

    def __init__(self, name: str, group: costs.Group, host: str, *, compression: str = "gzip") -> None:
        super().__init__(name, group)
        self._host = host
        self._compression = compression
        self._state = Path(tempfile.mkdtemp(prefix="bench-strata-", dir=SCRATCH))

    def between(self, *, cold: bool) -> None:
        shutil.rmtree(self._state)
        self._state.mkdir()

    def build(self, job: Job) -> None:
        cache = f"type=registry,ref={job.cache}"
        argv = [sys.executable, "-m", "strata_builder.cli", "build", "--insecure-registry", self._host]
        argv += ["--cache-from", cache, "--cache-to", cache, "--compression", self._compression]
        argv += ["--tag", job.image, "--push", str(job.context)]
        # As in the builder image, where everything is compiled.
        environment = {"PYTHONPATH": str(_BUILDER), "PYTHONDONTWRITEBYTECODE": ""}
        environment["STRATA_CACHE_DIR"] = str(self._state / "cache")
        _checked(self.group, argv, TMPDIR=str(self._state), **environment)

    def close(self) -> None:
        shutil.rmtree(self._state, ignore_errors=True)


class BuildKit(Builder):
    """A daemon that is there, with all that it has learnt."""

    links = True

    def __init__(self, name: str, group: costs.Group, host: str, runc: Path, *, compression: str = "gzip") -> None:
        super().__init__(name, group)
        self._host = host
        self._runc = runc
        self._compression = compression
        self._running: Oracle | None = None
        self._stack = contextlib.ExitStack()

    def between(self, *, cold: bool) -> None:
        if cold or self._running is None:
            self._restart()

    def _restart(self) -> None:
        self._stack.close()
        self._running = self._stack.enter_context(Oracle(self._host, self._runc))
        self.group.adopt(self._running.pid)
        self.group.also = (self._running.cgroup,)

    def build(self, job: Job) -> None:
        assert self._running is not None
        local = ["--local", f"context={job.context}", "--local", f"dockerfile={job.context}"]
        kind = f"compression={self._compression}"
        output = f"type=image,name={job.image},push=true,registry.insecure=true,oci-mediatypes=true,{kind}"
        argv = self._running.command("build", "--frontend", "dockerfile.v0", *local, *self._cache(job))
        _checked(self.group, [*argv, "--progress", "plain", "--output", output])

    def _cache(self, job: Job) -> list[str]:
        return []

    def close(self) -> None:
        self._stack.close()


class FreshBuildKit(BuildKit):
    """A daemon in a new pod: what it knows is the cache that it keeps in the registry, of all stages."""

    keeps = False

    def between(self, *, cold: bool) -> None:
        self._restart()

    def _cache(self, job: Job) -> list[str]:
        cache = f"type=registry,ref={job.cache},registry.insecure=true"
        return ["--import-cache", cache, "--export-cache", f"{cache},mode=max"]


class Buildah(Builder):
    """Debian's buildah with its layers kept on tmpfs; cold where they are removed."""

    def __init__(self, name: str, group: costs.Group) -> None:
        super().__init__(name, group)
        self._program = programs.ensure("buildah", "buildah")
        self._root = Path(tempfile.mkdtemp(prefix="bench-buildah-", dir=SCRATCH))

    def between(self, *, cold: bool) -> None:
        if cold:
            _checked(self.group, [*self._command(), "rmi", "--all", "--force"])

    def _command(self) -> list[str]:
        return [self._program, "--root", f"{self._root}/root", "--runroot", f"{self._root}/run"]

    def build(self, job: Job) -> None:
        storage = ["--storage-driver", "overlay"]
        argv = [*self._command(), *storage]
        quiet = {"TMPDIR": str(self._root), "BUILDAH_ISOLATION": "chroot"}
        _checked(
            self.group, [*argv, "bud", "--layers", "--tls-verify=false", "--tag", job.image, str(job.context)], **quiet
        )
        _checked(self.group, [*argv, "push", "--tls-verify=false", job.image], **quiet)

    def close(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


def _checked(group: costs.Group, argv: list[str], **environment: str) -> None:
    ended = group.run(argv, **environment)
    if ended.returncode:
        raise Failed(f"{' '.join(argv)}: exit code {ended.returncode}\n{ended.stderr[-3000:]}")


@contextlib.contextmanager
def all_of(host: str, runc: Path, names: list[str]) -> Iterator[list[Builder]]:
    """The builders of these names, Strata first."""
    with contextlib.ExitStack() as stack:
        made: list[Builder] = []
        for name in names:
            group = stack.enter_context(costs.Group(f"strata-bench-{secrets.token_hex(4)}"))
            made.append(_MAKE[name](name, group, host, runc))
            stack.callback(made[-1].close)
        yield made


_MAKE: dict[str, Callable[[str, costs.Group, str, Path], Builder]] = {
    "strata": lambda name, group, host, runc: Strata(name, group, host),
    "strata-zstd": lambda name, group, host, runc: Strata(name, group, host, compression="zstd"),
    "buildkit": BuildKit,
    "buildkit-zstd": lambda name, group, host, runc: BuildKit(name, group, host, runc, compression="zstd"),
    "buildkit-fresh": FreshBuildKit,
    "buildah": lambda name, group, host, runc: Buildah(name, group),
}
NAMES = tuple(_MAKE)
