"""The builders that are compared, each as its users run it: from a Dockerfile and a context to an image in a registry."""

from __future__ import annotations

import abc
import contextlib
import secrets
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from bench import costs, scratch
from differential.builds.oracle import Oracle
from support import programs

SCRATCH = Path("/dev/shm")
_BUILDER = Path(__file__).parents[2] / "builder"


class Failed(Exception):
    """A builder did not build; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Job:
    """One build: `image` is the reference to push, `cache` where builders that can keep their cache in the registry;
    without `platforms` it is for this machine's."""

    context: Path
    image: str
    cache: str
    platforms: tuple[str, ...] = ()


class Builder(abc.ABC):
    """One way to build; what it starts runs in `group`. `keeps`: what it has learnt is there in the next build;
    `links`: it is quicker with `COPY --link`; `copies`: how often the context's bytes lie in its folder meanwhile,
    besides the packed layer."""

    keeps = True
    links = False
    copies: ClassVar[int]

    def __init__(self, name: str, group: costs.Group) -> None:
        self.name = name
        self.group = group

    @abc.abstractmethod
    def between(self, *, cold: bool) -> None:
        """What happens before each build and is not counted; `cold`: it is to have learnt nothing."""

    @abc.abstractmethod
    def build(self, job: Job) -> None:
        """Raises Failed."""

    def close(self) -> None:  # noqa: B027  most have nothing that does not end with their folder
        """End it."""


class Strata(Builder):
    """`strata build` in a new pod: nothing is there but what the registry has; or, with `keeps`, on one machine. `below` is
    a program with arguments that starts it, to look at it."""

    copies = 0
    below: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, name: str, group: costs.Group, host: str, *, compression: str = "gzip", keeps: bool = False
    ) -> None:
        super().__init__(name, group)
        self.keeps = keeps
        self._host = host
        self._compression = compression

    def between(self, *, cold: bool) -> None:
        if cold or not self.keeps:
            for path in self.group.home.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def build(self, job: Job) -> None:
        argv = [*self.below, *command(), "build", "--insecure-registry", self._host, "--compression", self._compression]
        argv += [word for platform in job.platforms for word in ("--platform", platform)]
        if not self.keeps:
            cache = f"type=registry,ref={job.cache}"
            argv += ["--cache-from", cache, "--cache-to", cache]
        argv += ["--tag", job.image, "--push", str(job.context)]
        _checked(self.group, argv, **environment(self.group.home))


def command() -> list[str]:
    """`strata` as in the builder image: isolated from this machine, and without what the tests have installed."""
    return python("from strata_builder import start; start.command()")


def python(code: str) -> list[str]:
    """An interpreter that knows nothing but the builder and its dependencies, and runs `code`."""
    paths = [str(_BUILDER), sysconfig.get_path("purelib")]
    return [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"]


def environment(home: Path) -> dict[str, str]:
    """For a `strata` that keeps everything in `home`."""
    return {"STRATA_CACHE_DIR": str(home / "cache"), "TMPDIR": str(home)}


class _Daemon(Oracle):
    """BuildKit's daemon with its state on a file system of its own, `home`."""

    @property
    def home(self) -> Path:
        return self.folder / "root"

    def __enter__(self) -> Self:
        self._mount = contextlib.ExitStack()
        self._mount.enter_context(scratch.mounted(self.home))
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self._mount.close()
        super().__exit__(*error)


class BuildKit(Builder):
    """A daemon that is there, with all that it has learnt."""

    links = True
    copies = 2  # as it was sent by the client, and as the layer's files

    def __init__(self, name: str, group: costs.Group, host: str, runc: Path, *, compression: str = "gzip") -> None:
        super().__init__(name, group)
        self._host = host
        self._runc = runc
        self._compression = compression
        self._running: _Daemon | None = None
        self._stack = contextlib.ExitStack()

    def between(self, *, cold: bool) -> None:
        if cold or self._running is None:
            self._restart()

    def _restart(self) -> None:
        self._stack.close()
        self._running = self._stack.enter_context(_Daemon(self._host, self._runc))
        self.group.adopt(self._running.pid)
        self.group.also = (self._running.cgroup,)
        self.group.home = self._running.home

    def build(self, job: Job) -> None:
        assert self._running is not None
        local = ["--local", f"context={job.context}", "--local", f"dockerfile={job.context}"]
        kind = f"compression={self._compression}"
        output = f"type=image,name={job.image},push=true,registry.insecure=true,oci-mediatypes=true,{kind}"
        argv = self._running.command("build", "--frontend", "dockerfile.v0", *local, *self._cache(job))
        if job.platforms:
            argv += ["--opt", f"platform={','.join(job.platforms)}"]
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

    copies = 3  # in the container, as the tar of its layer, and in the layer

    def __init__(self, name: str, group: costs.Group) -> None:
        super().__init__(name, group)
        self._program = programs.ensure("buildah", "buildah")

    def between(self, *, cold: bool) -> None:
        if cold:
            self._checked("rmi", "--all", "--force")

    def build(self, job: Job) -> None:
        plain = ["--tls-verify=false"]
        if job.platforms:
            several = ["--platform", ",".join(job.platforms), "--manifest", job.image]
            self._checked("bud", "--layers", *plain, *several, str(job.context))
            self._checked("manifest", "push", "--all", *plain, job.image, f"docker://{job.image}")
        else:
            self._checked("bud", "--layers", *plain, "--tag", job.image, str(job.context))
            self._checked("push", *plain, job.image)

    def _checked(self, *arguments: str) -> None:
        home = self.group.home
        store = ["--root", f"{home}/root", "--runroot", f"{home}/run", "--storage-driver", "overlay"]
        (home / "tmp").mkdir(exist_ok=True)
        quiet = {"TMPDIR": str(home / "tmp"), "BUILDAH_ISOLATION": "chroot"}
        _checked(self.group, [self._program, *store, *arguments], **quiet)


def _checked(group: costs.Group, argv: list[str], **environment: str) -> None:
    ended = group.run(argv, **environment)
    if ended.returncode:
        raise Failed(f"{' '.join(argv)}: exit code {ended.returncode}\n{ended.stderr[-3000:]}")


@contextlib.contextmanager
def all_of(host: str, runc: Path, names: list[str]) -> Iterator[list[Builder]]:
    """The builders of these names, in this order, each with a folder and a control group of its own."""
    with contextlib.ExitStack() as stack:
        made: list[Builder] = []
        for name in names:
            home = Path(tempfile.mkdtemp(prefix="bench-", dir=SCRATCH))
            stack.callback(home.rmdir)
            stack.enter_context(scratch.mounted(home))
            group = stack.enter_context(costs.Group(f"strata-bench-{secrets.token_hex(4)}", home))
            made.append(_MAKE[name](name, group, host, runc))
            stack.callback(made[-1].close)
        yield made


_MAKE: dict[str, Callable[[str, costs.Group, str, Path], Builder]] = {
    "strata": lambda name, group, host, runc: Strata(name, group, host),
    "strata-zstd": lambda name, group, host, runc: Strata(name, group, host, compression="zstd"),
    "strata-warm": lambda name, group, host, runc: Strata(name, group, host, keeps=True),
    "buildkit": BuildKit,
    "buildkit-zstd": lambda name, group, host, runc: BuildKit(name, group, host, runc, compression="zstd"),
    "buildkit-fresh": FreshBuildKit,
    "buildah": lambda name, group, host, runc: Buildah(name, group),
}
NAMES = tuple(_MAKE)
