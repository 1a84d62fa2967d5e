"""Checks of what is written: casing, names of stages, comments, empty lines in continuations."""

from __future__ import annotations

from collections.abc import Iterator

from strata_builder import dockerfile as df
from strata_builder.dockerfile import instructions as ins
from strata_builder.lint.findings import Findings

_RESERVED = ("context", "scratch")


def check(file: df.Dockerfile, warnings: Findings) -> None:
    for line in file.blank_continuations:
        warnings.add("NoEmptyContinuation", "Empty continuation line", ins.Span(line, line), above=False)
    for instruction in _all(file):
        _check_one(instruction, file, warnings)
    _check_stage_names(file, warnings)
    _check_casing(file, warnings)


def _all(file: df.Dockerfile) -> Iterator[ins.Instruction]:
    yield from file.meta_args
    for stage in file.stages:
        yield stage.from_
        yield from stage.instructions


def written(instruction: ins.Instruction) -> str:
    """The keyword as it stands in the file."""
    return instruction.text.split(maxsplit=1)[0]


def _check_one(instruction: ins.Instruction, file: df.Dockerfile, warnings: Findings) -> None:
    comments = file.comments.get(instruction.span.start, ())
    match instruction:
        case ins.Maintainer():
            message = "Maintainer instruction is deprecated in favor of using label"
            warnings.add("MaintainerDeprecated", message, instruction.span)
        case ins.From():
            _check_from(instruction, warnings)
            if instruction.name:
                _check_description("FROM", [instruction.name], comments, instruction, warnings)
        case ins.Arg():
            _check_description("ARG", [name for name, _ in instruction.pairs], comments, instruction, warnings)


def _check_from(instruction: ins.From, warnings: Findings) -> None:
    words = instruction.text.split()
    if instruction.name is None:
        return
    keyword, as_, name = words[0], words[-2], words[-1]
    if name != name.lower():
        warnings.add("StageNameCasing", f"Stage name '{name}' should be lowercase", instruction.span)
    cased = as_.lower() if keyword == keyword.lower() else as_.upper()
    if keyword in (keyword.lower(), keyword.upper()) and as_ != cased:
        message = f"'{as_}' and '{keyword}' keywords' casing do not match"
        warnings.add("FromAsCasing", message, instruction.span)


def _check_description(
    keyword: str, names: list[str], comments: tuple[str, ...], instruction: ins.Instruction, warnings: Findings
) -> None:
    """A comment above an ARG or a named stage begins with its name."""
    if not comments or comments[-1].split(" ")[0] in names:
        return
    example = names[0] if len(names) == 1 else "<arg_key>"
    message = f"Comment for {keyword} should follow the format: `# {example} <description>`"
    warnings.add("InvalidDefinitionDescription", message, instruction.span)


def _check_stage_names(file: df.Dockerfile, warnings: Findings) -> None:
    seen: set[str] = set()
    for stage in file.stages:
        if stage.name in _RESERVED:
            message = f'Stage name should not use the same name as reserved stage "{stage.name}"'
            warnings.add("ReservedStageName", message, stage.from_.span, above=False)
        if stage.name in seen:
            message = f'Duplicate stage name "{stage.name}", stage names should be unique'
            warnings.add("DuplicateStageName", message, stage.from_.span, above=False)
        seen |= {stage.name} if stage.name else set()


def _check_casing(file: df.Dockerfile, warnings: Findings) -> None:
    instructions = [each for stage in file.stages for each in (stage.from_, *stage.instructions)]
    keywords = [written(each) for each in instructions]
    lower = sum(keyword == keyword.lower() for keyword in keywords)
    upper = sum(keyword == keyword.upper() for keyword in keywords)
    for instruction, keyword in zip(instructions, keywords, strict=True):
        cased, case = (keyword.lower(), "lowercase") if lower > upper else (keyword.upper(), "uppercase")
        if keyword != cased:
            message = f"Command '{keyword}' should match the case of the command majority ({case})"
            warnings.add("ConsistentInstructionCasing", message, instruction.span, above=False)
