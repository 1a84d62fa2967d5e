"""Random Dockerfiles of steps that change files, of few names so that the steps meet. Pure: the seed decides."""

from __future__ import annotations

import random

from differential.builds.cases import Case, Entry

NAMES = ("a", "b", "c", "a/x", "a/y", "b/x", "b/x/z", "c/d", "c/d/e")
SOURCES = ("f", "g", "d", "d/s", "d/x", "e")
MODES = ("0600", "0644", "0700", "0755", "1777", "2755", "4711")
OWNERS = ("1", "0:7", "app", "app:extra", "bob", "3000000:5")
TIMES = (1_000_000_000, 1_234_567_890, 1_500_000_000)


class Grammar:
    """Each call of `case` gives another one."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0

    def case(self) -> Case:
        """Steps on a base and a second stage that copies from the first."""
        self._count += 1
        lines = ["FROM testbase AS first", *self._steps(self._random.randint(3, 7))]
        if self._random.random() < 0.5:
            lines += ["FROM testbase", *self._steps(1), self._copy("--from=first ", f"/{self._name()}")]
            lines += self._steps(self._random.randint(0, 3))
        dockerfile = Entry("Dockerfile", "\n".join([*lines, ""]).encode())
        return Case(f"random-{self._count}", (), (dockerfile, *self._context()))

    def _context(self) -> list[Entry]:
        """The sources, with random modes."""
        modes = {name: int(self._random.choice(MODES), 8) for name in SOURCES}
        files = [Entry(name, self._content().encode(), mode=modes[name]) for name in ("f", "g", "d/x")]
        folders = [Entry(f"{name}/", mode=modes[name] | 0o500) for name in ("d", "d/s", "e")]
        return [*folders, *files, Entry("d/l", symlink=self._random.choice(("x", "/a", "../f", "nowhere")))]

    def _steps(self, count: int) -> list[str]:
        return [self._step() for _ in range(count)]

    def _step(self) -> str:
        kind = self._random.choices(("run", "copy", "workdir", "env", "user"), (10, 5, 2, 1, 1))[0]
        if kind == "run":
            return "RUN " + "; ".join([*(self._change() for _ in range(self._random.randint(1, 5))), "true"])
        if kind == "copy":
            return self._copy("", self._random.choice(SOURCES))
        if kind == "workdir":
            return f"WORKDIR /w{self._random.randint(1, 2)}/{self._name()}"
        if kind == "env":
            return f"ENV V{self._random.randint(1, 3)}={self._content()}"
        return f"USER {self._random.choice(('0', 'root'))}"

    def _copy(self, flags: str, source: str) -> str:
        if self._random.random() < 0.3:
            flags += f"--chown={self._random.choice(OWNERS)} "
        if self._random.random() < 0.3:
            flags += f"--chmod={self._random.choice(MODES)} "
        slash = self._random.choice(("", "/", f"/{self._random.choice('xyz')}"))
        return f"COPY {flags}{source} /{self._name()}{slash}"

    def _change(self) -> str:
        """One command of a step; it may fail, since what it names may not be there or be something else."""
        one, two = f"/{self._name()}", f"/{self._name()}"
        return self._random.choice(
            (
                f"mkdir -p {one}",
                f"[ -p {one} ] || echo {self._content()} > {one}",  # to open a pipe for writing waits for a reader
                f"[ -p {one} ] || echo {self._content()} >> {one}",
                f"rm -rf {one}",
                f"rm -f {one}/*",
                f"mv {one} {two}",
                f"ln -s {two} {one}",
                f"ln -sfn {self._name()} {one}",
                f"ln {one} {two}",
                f"cp -a {one} {two}",
                f"chmod {self._random.choice(MODES)} {one}",
                f"chown {self._random.choice(OWNERS)} {one}",
                f"touch -d @{self._random.choice(TIMES)} {one}",
                f"mkfifo {one}",
            )
        )

    def _name(self) -> str:
        return self._random.choice(NAMES)

    def _content(self) -> str:
        """A word of its own length: BuildKit's overlay comparison takes equal size and time for equal content."""
        self._count += 1
        return "w" * self._count
