"""The typed instructions: what a Dockerfile says, before any variable is expanded. Values only; parsers.py makes them.

Text is kept as `text.decode` gives it: bytes that are no UTF-8 come back with `text.encode`.
"""

from __future__ import annotations

from strata_builder.frozen import frozen


@frozen
class Span:
    """Lines of the file, 1-based, both ends included; 0, 0 for an instruction that stands in no file."""

    start: int
    end: int


@frozen
class Heredoc:
    """An inline document. `body` as written, with its line ends; `chomp` drops leading tabs (`<<-`)."""

    name: str
    body: str
    expand: bool
    chomp: bool

    @property
    def content(self) -> str:
        """The body after the chomp."""
        if not self.chomp:
            return self.body
        return "".join(line.lstrip("\t") for line in self.body.splitlines(keepends=True))


@frozen
class Mount:
    """One RUN --mount. `None` and "" mean not given; `mode`, `uid`, `gid` and `size` (bytes) are numbers once resolved.

    Before `resolve` every value is the raw text in `raw` and only `type`, `from_` and `target` may be relied on where
    they hold no variable.
    """

    raw: str
    type: str = "bind"
    target: str = ""
    source: str = ""
    from_: str = ""
    id: str = ""
    sharing: str = ""
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    readonly: bool = True
    required: bool = False
    env: str = ""


@frozen
class Instruction:
    """`text` is the logical source line, continuations joined, without the bodies of here-documents."""

    span: Span
    text: str

    @property
    def keyword(self) -> str:
        return type(self).__name__.upper()


@frozen
class Arg(Instruction):
    """Names with their defaults; None for a name without one, which is not the same as an empty default."""

    pairs: tuple[tuple[str, str | None], ...]


@frozen
class Env(Instruction):
    pairs: tuple[tuple[str, str], ...]


@frozen
class Label(Instruction):
    pairs: tuple[tuple[str, str], ...]


@frozen
class Command(Instruction):
    """Shell form: `shell` is true and `command` is the raw text. Exec form: `argv`, possibly empty."""

    shell: bool
    command: str
    argv: tuple[str, ...]


@frozen
class Run(Command):
    """`network` and `security` are "" unless given."""

    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = ""
    security: str = ""


@frozen
class Cmd(Command):
    pass


@frozen
class Entrypoint(Command):
    pass


@frozen
class Shell(Instruction):
    argv: tuple[str, ...]


@frozen
class Copy(Instruction):
    """`sources` are paths, `heredocs` the inline ones; `exclude` patterns are relative to the source."""

    sources: tuple[str, ...]
    dest: str
    heredocs: tuple[Heredoc, ...] = ()
    from_: str | None = None
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


@frozen
class Add(Instruction):
    """As Copy, and sources may be URLs and archives. `keep_git_dir` and `unpack` are None unless given."""

    sources: tuple[str, ...]
    dest: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@frozen
class Workdir(Instruction):
    path: str


@frozen
class User(Instruction):
    user: str


@frozen
class Volume(Instruction):
    paths: tuple[str, ...]


@frozen
class Expose(Instruction):
    """As written; after `resolve` single ports such as 8000/tcp."""

    ports: tuple[str, ...]


@frozen
class StopSignal(Instruction):
    signal: str


@frozen
class Healthcheck(Instruction):
    """Times in nanoseconds, 0 for the default; `cmd` is None only with `none`."""

    none: bool
    cmd: Cmd | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@frozen
class Maintainer(Instruction):
    name: str


@frozen
class OnBuild(Instruction):
    """`trigger` is the text that goes into the image's config, here-documents included; `instruction` is it parsed."""

    trigger: str
    instruction: Instruction


@frozen
class From(Instruction):
    """`platform` is "" unless given; `name` is the stage's name in lower case."""

    image: str
    platform: str = ""
    name: str | None = None
