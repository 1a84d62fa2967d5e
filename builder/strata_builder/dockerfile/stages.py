"""A parsed Dockerfile: its stages, and how names and numbers find them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from strata_builder import errors
from strata_builder.dockerfile.faults import Fault, place_in
from strata_builder.dockerfile.instructions import Arg, From, Instruction, Span
from strata_builder.frozen import field, frozen


@frozen
class Stage:
    """FROM and what follows it. `name` is in lower case; `index` counts from 0; `span` reaches to its last line."""

    name: str | None
    index: int
    from_: From
    instructions: tuple[Instruction, ...]
    span: Span

    def __str__(self) -> str:
        return self.name or str(self.index)


@frozen
class Dockerfile:
    """`meta_args` stand before the first FROM; `syntax` and `check` are the directives' values, noted only.

    `comments` are those directly before an instruction, by its first line; `blank_continuations` the last lines of
    instructions that have an empty line in them.
    """

    name: str
    meta_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    escape: str
    syntax: str | None
    check: str | None
    source: str
    comments: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    blank_continuations: tuple[int, ...] = ()


def place(dockerfile: Dockerfile, span: Span, about: str = "") -> errors.Place:
    """Where in the file an instruction stands, for a message; the caret points at `about` if that is found in it."""
    return place_in(dockerfile.name, _lines(dockerfile.source), span.start, span.end, about)


@functools.lru_cache(maxsize=1)
def _lines(source: str) -> tuple[str, ...]:
    """Every instruction asks for its place."""
    return tuple(source.split("\n"))


def find_stage(
    dockerfile: Dockerfile, name_or_index: str | int, *, before: int | None = None, asking: Instruction | None = None
) -> Stage | None:
    """The stage that a COPY --from, RUN --mount from= or --target means; None for what is no stage but an image.

    Names ignore case and the later stage of a name wins; numbers count from 0. With `before`, the index of the stage
    that asks, only earlier stages count. `asking` is the instruction to point at.

    Raises errors.DockerfileError for a number without a stage, for a stage that asks for itself and for one that is
    defined further down when no earlier one has that name.
    """
    try:
        return _find(dockerfile, str(name_or_index), before)
    except Fault as fault:
        where = place(dockerfile, asking.span, fault.about) if asking else None
        raise errors.DockerfileError(fault.message, place=where, hint=fault.hint) from None


def find_base(dockerfile: Dockerfile, name: str, before: int) -> Stage | None:
    """The stage before number `before` that a FROM means; None for an image.

    The stage itself and later ones may well have the name of an image (`FROM node AS node`), and an image may be called 1.
    """
    return _named(dockerfile.stages[:before], name)


def _find(dockerfile: Dockerfile, wanted: str, before: int | None) -> Stage | None:
    visible = dockerfile.stages if before is None else dockerfile.stages[:before]
    if (found := _named(visible, wanted)) is not None:
        return found
    if wanted.isascii() and wanted.isdigit():
        return _by_number(dockerfile, wanted, before)
    for stage in dockerfile.stages[len(visible) :]:
        if stage.name == wanted.lower():
            raise _not_yet(stage, wanted, before)
    return None


def _named(visible: Sequence[Stage], name: str) -> Stage | None:
    return next((stage for stage in reversed(visible) if stage.name == name.lower()), None)


def _by_number(dockerfile: Dockerfile, wanted: str, before: int | None) -> Stage:
    count = len(dockerfile.stages)
    if len(wanted) > 9 or int(wanted) >= count:
        raise Fault(f"there is no stage {wanted}", about=wanted, hint=f"there are {count}, counted from 0")
    stage = dockerfile.stages[int(wanted)]
    if before is not None and stage.index >= before:
        raise _not_yet(stage, wanted, before)
    return stage


def _not_yet(stage: Stage, wanted: str, before: int | None) -> Fault:
    if stage.index == before:
        return Fault(f"stage {wanted} cannot take from itself", about=wanted, hint="name an earlier stage")
    return Fault(
        f"stage {wanted} is defined further down (line {stage.span.start}) and needs to be defined before this use",
        about=wanted,
        hint="move it up",
    )
