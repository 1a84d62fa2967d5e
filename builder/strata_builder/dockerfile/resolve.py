"""The same instruction with its variables expanded, exactly where Docker expands them.

RUN, CMD, ENTRYPOINT, HEALTHCHECK, SHELL, MAINTAINER and ONBUILD keep their text (a shell will read it); of a RUN only
the values of --mount are expanded, of COPY and ADD not the patterns of --exclude but the bodies of here-documents whose
name is not quoted.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from typing import TypeVar, cast

from strata_builder import errors
from strata_builder.dockerfile import faults, mounts, ports, signals, sources, text
from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile.expansion import Word
from strata_builder.dockerfile.faults import Fault
from strata_builder.frozen import frozen, replace

_I = TypeVar("_I", bound=typed.Instruction)
_Expand = Callable[[str], str]


@frozen
class _Scope:
    """The variables that an instruction sees and the escape character of its file."""

    env: Mapping[str, str]
    escape: str

    def __call__(self, word: str) -> str:
        return Word(word, self.env, self.escape).expand()

    def all(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(self, words))

    def split(self, words: tuple[str, ...]) -> list[str]:
        return [part for word in words for part in Word(word, self.env, self.escape).split()]

    def body(self, heredoc: typed.Heredoc) -> typed.Heredoc:
        """Quotes mean nothing in a body and its escape is always the backslash."""
        if not heredoc.expand:
            return heredoc
        body = Word(heredoc.content, self.env, "\\", quotes=False).expand()
        return replace(heredoc, body=body, expand=False, chomp=False)


def resolve(
    instruction: _I, env: Mapping[str, str], *, escape: str = "\\", file: str = "Dockerfile", source: str = ""
) -> _I:
    """The instruction with every variable replaced by its value in `env`, or by nothing.

    In ENV every value sees the variables as they were before the instruction; in ARG a default sees the names before it
    (`resolve_arg` also lets build arguments take part). WORKDIR and USER may expand to nothing, a destination that does
    is the working directory. Raises errors.DockerfileError with the place in `file`, whose text is `source`.
    """
    step = _STEPS.get(type(instruction))
    if step is None:
        return instruction
    try:
        return cast(_I, step(instruction, _Scope(env, escape)))
    except Fault as fault:
        raise _placed(fault, instruction, file, source) from None


def resolve_arg(
    instruction: typed.Arg,
    env: Mapping[str, str],
    given: Mapping[str, str | None],
    *,
    escape: str = "\\",
    file: str = "Dockerfile",
    source: str = "",
) -> typed.Arg:
    """The names of an ARG with their values: the one in `given` if there is any, else the expanded default, else None.

    A default that is not used is not expanded, so that ${X:?} in it does no harm.
    """
    try:
        return _arg(instruction, _Scope(env, escape), given)
    except Fault as fault:
        raise _placed(fault, instruction, file, source) from None


def resolve_targets(run: typed.Run, workdir: str, *, file: str = "Dockerfile", source: str = "") -> typed.Run:
    """A resolved RUN with the targets of its mounts made absolute below `workdir`, the directory that it runs in.

    Raises errors.DockerfileError for a mount at /.
    """
    try:
        return replace(run, mounts=tuple(mounts.place(mount, workdir) for mount in run.mounts))
    except Fault as fault:
        raise _placed(mounts.about(fault, run.text), run, file, source) from None


def _placed(fault: Fault, instruction: typed.Instruction, file: str, source: str) -> errors.DockerfileError:
    if source:
        return faults.placed(fault, file, source.split("\n"), instruction.span.start, instruction.span.end)
    shown = text.printable(instruction.text[:200])
    column = shown.find(fault.about) + 1 if fault.about else 0
    span = instruction.span
    place = errors.Place(file, span.start, span.end, shown, column or 1)
    return errors.DockerfileError(fault.message, place=place, hint=fault.hint)


def _arg(arg: typed.Arg, scope: _Scope, given: Mapping[str, str | None] | None = None) -> typed.Arg:
    env: dict[str, str] = {}
    seen = _Scope(ChainMap(env, cast(MutableMapping[str, str], scope.env)), scope.escape)
    pairs: list[tuple[str, str | None]] = []
    for name, default in arg.pairs:
        value = (given or {}).get(name)
        if value is None and default is not None:
            value = seen(default)
        if value is not None:
            env[name] = value
        pairs.append((name, value))
    return replace(arg, pairs=tuple(pairs))


def _env(env: typed.Env, scope: _Scope) -> typed.Env:
    return replace(env, pairs=_pairs(env.pairs, scope, "ENV"))


def _label(label: typed.Label, scope: _Scope) -> typed.Label:
    return replace(label, pairs=_pairs(label.pairs, scope, "LABEL"))


def _pairs(pairs: tuple[tuple[str, str], ...], scope: _Scope, keyword: str) -> tuple[tuple[str, str], ...]:
    resolved = tuple((scope(name), scope(value)) for name, value in pairs)
    for (name, _), (written, _) in zip(resolved, pairs, strict=True):
        if not name:
            raise Fault(f"{keyword} has an empty name", about=written, hint=f"write {keyword} name=value")
    return resolved


def _copy(copy: typed.Copy, scope: _Scope) -> typed.Copy:
    resolved = replace(
        copy,
        sources=scope.all(copy.sources),
        dest=scope(copy.dest) or ".",
        heredocs=tuple(map(scope.body, copy.heredocs)),
        chown=scope(copy.chown),
        chmod=scope(copy.chmod),
    )
    sources.check(resolved)
    return resolved


def _add(add: typed.Add, scope: _Scope) -> typed.Add:
    resolved = replace(
        add,
        sources=scope.all(add.sources),
        dest=scope(add.dest) or ".",
        heredocs=tuple(map(scope.body, add.heredocs)),
        chown=scope(add.chown),
        chmod=scope(add.chmod),
        checksum=scope(add.checksum),
    )
    sources.check(resolved)
    return resolved


def _run(run: typed.Run, scope: _Scope) -> typed.Run:
    try:
        return replace(run, mounts=tuple(mounts.parse(mount.raw, scope) for mount in run.mounts))
    except Fault as fault:
        raise mounts.about(fault, run.text) from None


def _workdir(workdir: typed.Workdir, scope: _Scope) -> typed.Workdir:
    return replace(workdir, path=scope(workdir.path))


def _user(user: typed.User, scope: _Scope) -> typed.User:
    return replace(user, user=scope(user.user))


def _volume(volume: typed.Volume, scope: _Scope) -> typed.Volume:
    return replace(volume, paths=tuple(_not_empty(path, scope, "a path") for path in volume.paths))


def _expose(expose: typed.Expose, scope: _Scope) -> typed.Expose:
    return replace(expose, ports=ports.expand_ports(scope.split(expose.ports)))


def _stopsignal(stop: typed.StopSignal, scope: _Scope) -> typed.StopSignal:
    return replace(stop, signal=signals.check(scope(stop.signal)))


def _from(from_: typed.From, scope: _Scope) -> typed.From:
    return replace(from_, image=_not_empty(from_.image, scope, "the image"), platform=scope(from_.platform))


def _not_empty(word: str, scope: _Scope, what: str) -> str:
    value = scope(word)
    if not value:
        hint = "give its variable a value, or a default as in ${NAME:-default}" if "$" in word else ""
        raise Fault(f"{what} is empty: {word!r} expands to nothing", about=word, hint=hint)
    return value


_STEPS: Mapping[type[typed.Instruction], Callable[..., typed.Instruction]] = {
    typed.Add: _add,
    typed.Arg: _arg,
    typed.Copy: _copy,
    typed.Env: _env,
    typed.Expose: _expose,
    typed.From: _from,
    typed.Label: _label,
    typed.Run: _run,
    typed.StopSignal: _stopsignal,
    typed.User: _user,
    typed.Volume: _volume,
    typed.Workdir: _workdir,
}
