"""tests/golden/dockerfile/<case>/{Dockerfile,result}: the parsed form, or the exact text of the error.

UPDATE_GOLDEN=1 writes the results anew; read the difference before you keep it.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import pytest

from strata_builder import dockerfile, errors

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "dockerfile"
CASES = sorted(path.parent for path in GOLDEN.glob("*/Dockerfile"))
LAST_ARGS = {"V": "1", "NAME": "name"}


def _fields(value: object) -> str:
    assert dataclasses.is_dataclass(value)
    shown = []
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if field.name in ("span", "text", "raw") or content == field.default:
            continue
        shown.append(f"{field.name}={_shown(content)}")
    return " ".join(shown)


def _shown(value: object) -> str:
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}({_fields(value)})"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return repr(value)


def _dump(file: dockerfile.Dockerfile) -> str:
    lines = [f"escape={file.escape} syntax={file.syntax} check={file.check}"]
    lines += [f"{arg.span.start}-{arg.span.end} ARG {_fields(arg)}" for arg in file.meta_args]
    for stage in file.stages:
        lines.append(f"{stage.span.start}-{stage.span.end} stage {stage.index} {stage.name} {_fields(stage.from_)}")
        for each in stage.instructions:
            lines.append(f"  {each.span.start}-{each.span.end} {each.keyword} {_fields(each)}")
            resolved = dockerfile.resolve(each, LAST_ARGS, escape=file.escape)
            if resolved != each:
                lines.append(f"    -> {_fields(resolved)}")
    return "\n".join(lines)


def _result(data: bytes) -> str:
    try:
        return _dump(dockerfile.parse(data)) + "\n"
    except errors.DockerfileError as error:
        return f"{error}\n"


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_dockerfile_reads_as_its_golden_result_says(case: pathlib.Path) -> None:
    result = _result((case / "Dockerfile").read_bytes())
    if os.environ.get("UPDATE_GOLDEN"):
        (case / "result").write_text(result, encoding="utf-8")
    assert result == (case / "result").read_text(encoding="utf-8")


def test_there_are_goldens() -> None:
    assert len(CASES) > 30
