"""The whole way from bytes to a Dockerfile; every fault gets its place here."""

from __future__ import annotations

from typing import Final

from strata_builder import errors
from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile import lines, parsers, text
from strata_builder.dockerfile.faults import Fault, placed
from strata_builder.dockerfile.stages import Dockerfile, Stage

MAX_BYTES: Final = 4 << 20
"""Of a Dockerfile; the longest that people write have a hundredth of it."""
MAX_INSTRUCTIONS: Final = 5000
"""Of all stages; an image has at most some hundred layers, whatever makes it."""


def parse(data: bytes, name: str = "Dockerfile") -> Dockerfile:
    """The stages of a Dockerfile. `name` is for messages. Raises errors.DockerfileError with the place of the fault."""
    if len(data) > MAX_BYTES:
        raise errors.DockerfileError(
            f"{name} has more than {MAX_BYTES} bytes, which is the limit",
            hint="put what is long into files of the context, and COPY them",
        )
    source = text.decode(data)
    reader = lines.Reader.of(source)
    found: list[typed.Instruction] = []
    read: list[lines.LogicalLine] = []
    start, in_stage = 1, False
    try:
        for line in reader.logical_lines():
            start = line.start
            if len(read) == MAX_INSTRUCTIONS:
                raise Fault(
                    f"the file has more than {MAX_INSTRUCTIONS} instructions, which is the limit",
                    hint="join several of a kind: ENV a=1 b=2, LABEL a=1 b=2, RUN one && two",
                )
            read.append(line)
            found.append(_instruction(line, reader))
            in_stage = in_stage or isinstance(found[-1], typed.From)
            _check_order(found[-1], in_stage)
        start = max(1, len(reader.lines))
        if not in_stage:
            raise _no_from(found)
    except lines.BadDirective as fault:
        raise placed(fault, name, reader.lines, reader.position, reader.position) from None
    except Fault as fault:
        raise placed(fault, name, reader.lines, start, max(start, reader.position)) from None
    return _dockerfile(found, read, reader, name, source)


def parse_instruction(
    source: str, *, escape: str = "\\", file: str = "Dockerfile", span: typed.Span | None = None
) -> typed.Instruction:
    """One instruction from its text alone, such as an ONBUILD trigger of a base image, here-documents included.

    `span` is the place to report, by default none. Raises errors.DockerfileError.
    """
    reader = lines.Reader.of(source)
    reader.escape = escape
    try:
        found = [_instruction(line, reader, span or typed.Span(0, 0)) for line in reader.logical_lines()]
        if len(found) != 1:
            raise Fault(f"one instruction expected, {len(found)} found", about=source.split("\n", maxsplit=1)[0])
    except Fault as fault:
        error = placed(fault, file, reader.lines, 1, max(1, len(reader.lines)))
        if span is None or error.place is None:
            raise error from None
        place = errors.Place(file, span.start, span.end, error.place.excerpt, error.place.column)
        raise errors.DockerfileError(fault.message, place=place, hint=fault.hint) from None
    return found[0]


def _instruction(line: lines.LogicalLine, reader: lines.Reader, span: typed.Span | None = None) -> typed.Instruction:
    if "\0" in line.text:
        raise Fault("a NUL byte in an instruction", hint="write the file as UTF-8 text")
    statement = parsers.split(line.text, span or typed.Span(line.start, line.end), reader.escape)
    openers = parsers.openers(statement)
    if not openers:
        return parsers.parse(statement)
    heredocs = tuple(typed.Heredoc(name, reader.heredoc(name, chomp), expand, chomp) for name, expand, chomp in openers)
    return parsers.parse(parsers.with_heredocs(statement, heredocs, span or typed.Span(line.start, reader.position)))


def _check_order(last: typed.Instruction, in_stage: bool) -> None:
    if not in_stage and not isinstance(last, typed.Arg):
        raise Fault(
            f"{last.keyword} stands before the first FROM",
            about=last.text.split(maxsplit=1)[0],
            hint="begin with FROM image; only ARG may stand before it",
        )


def _no_from(found: list[typed.Instruction]) -> Fault:
    message = "the file has no FROM" if found else "the file has no instructions"
    return Fault(message, hint="begin with FROM image, or FROM scratch for an empty one")


def _dockerfile(
    found: list[typed.Instruction], read: list[lines.LogicalLine], reader: lines.Reader, name: str, source: str
) -> Dockerfile:
    starts = [n for n, each in enumerate(found) if isinstance(each, typed.From)]
    stages = [
        _stage(index, found[start:end])
        for index, (start, end) in enumerate(zip(starts, [*starts[1:], len(found)], strict=True))
    ]
    return Dockerfile(
        name,
        meta_args=tuple(each for each in found[: starts[0]] if isinstance(each, typed.Arg)),
        stages=tuple(stages),
        escape=reader.escape,
        syntax=reader.directives.get("syntax"),
        check=reader.directives.get("check"),
        source=source,
        comments={line.start: line.comments for line in read if line.comments},
        blank_continuations=tuple(line.end for line in read if line.blank),
    )


def _stage(index: int, found: list[typed.Instruction]) -> Stage:
    first, *rest = found
    assert isinstance(first, typed.From)
    return Stage(first.name, index, first, tuple(rest), typed.Span(first.span.start, found[-1].span.end))
