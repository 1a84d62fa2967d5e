"""What the pages and the code tell people to type and to look at, and what there is of it."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from typing import Any, Final

import yaml

from support import helm_chart

CHECKOUT: Final = helm_chart.CHECKOUT
PAGES: Final = [
    CHECKOUT / "README.md",
    CHECKOUT / "CONTRIBUTING.md",
    CHECKOUT / "helm/strata/README.md",
    CHECKOUT / "helm/strata/templates/NOTES.txt",
    *sorted(CHECKOUT.glob("docs/*.md")),
    *sorted(CHECKOUT.glob("examples/*/README.md")),
]
SOURCES: Final = sorted(file for part in ("operator", "builder") for file in (CHECKOUT / part).rglob("*.py"))
CRDS: Final = sorted(CHECKOUT.glob("crds/*.yaml"))
VALUES: Final = yaml.safe_load((helm_chart.CHART / "values.yaml").read_text())
#: What a command of a page is about, by how kubectl calls it.
KINDS: Final = {"imagebuild": "ImageBuild", "imagebuilds": "ImageBuild", "registry": "Registry"}
Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    bodies = [yaml.safe_load(file.read_text()) for file in CRDS]
    return {b["spec"]["names"]["kind"]: b["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for b in bodies}


SCHEMAS: Final = schemas()


def texts() -> list[tuple[str, str]]:
    """(file, text) of all that people read."""
    read = [*PAGES, *SOURCES, *CRDS, helm_chart.CHART / "values.yaml"]
    return [(str(file.relative_to(CHECKOUT)), file.read_text()) for file in read]


def worded(file: str, text: str) -> list[str]:
    """What people read of a file that is no page: sentences of code, all of others."""
    if not file.endswith(".py"):
        return [text]
    found = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return [part for part in found if isinstance(part, str) and " " in part]


def commands(program: str) -> list[tuple[str, list[str]]]:
    """(file, words) of the lines after a prompt that call `program`, without what follows a pipe or a comment."""
    found = []
    for file in PAGES:
        for line in re.findall(r"^\$ ((?:.*\\\n)*.*)", file.read_text(), re.MULTILINE):
            words = shlex.split(line.replace("\\\n", " ").replace("$(", "").replace(")", ""), comments=True)
            if words and words[0].rpartition("/")[2] == program:
                end = next((at for at, word in enumerate(words) if word in ("|", "&", ">")), len(words))
                found.append((file.name, words[1:end]))
    return found


def kind_of(words: list[str]) -> str:
    """The kind of Strata's that a command of kubectl is about, else empty."""
    return next((KINDS[w.partition("/")[0]] for w in words if w.partition("/")[0] in KINDS), "")


def within(schema: Schema, path: str) -> Schema | None:
    """The schema of `path` (a.b[0].c), None where there is no such field. A map of names knows every name."""
    for part in filter(None, re.sub(r"\[[^\]]*\]", ".[]", path).split(".")):
        if part == "[]":
            found = schema.get("items")
        else:
            found = schema.get("properties", {}).get(part) or schema.get("additionalProperties")
        if not isinstance(found, dict):
            return None
        schema = found
    return schema


def valued(path: str) -> bool:
    """Whether the chart has a value of this path."""
    found: Any = VALUES
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return True


def patched(patch: Any, path: str = "") -> Iterator[str]:
    """The paths that a merge patch writes."""
    if not isinstance(patch, dict):
        yield path
        return
    for key, value in patch.items():
        yield from patched(value, f"{path}.{key}" if path else key)


def json_paths(text: str) -> Iterator[str]:
    """The fields that a jsonpath reads; those inside a range are below what it goes through."""
    around = [""]
    for ranged, path, end in re.findall(r"\{(range )?(\.[^}]*)\}|\{(end)\}", text):
        if end:
            around.pop()
            continue
        yield (whole := around[-1] + path)
        if ranged:
            around.append(whole)
