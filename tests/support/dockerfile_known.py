"""The differences between Strata and BuildKit's frontend that are meant, each with its reason and an example.

The differential tests excuse these and no others; and each example must still differ, or it has to leave the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from support.dockerfile_compare import Difference

ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Known:
    """`theirs` and `ours` are patterns of what each says: a message, or that it accepts the file; `file` is one of what a
    Dockerfile has that the difference is of."""

    name: str
    reason: str
    theirs: str
    ours: str
    example: str
    file: str = ""

    def excuses(self, difference: Difference, source: bytes) -> bool:
        said = (difference.theirs, difference.ours, source.decode("utf-8", "replace"))
        patterns = (self.theirs, self.ours, self.file)
        return all(re.search(pattern, _text(side)) for pattern, side in zip(patterns, said, strict=True))


def _text(side: object) -> str:
    return str(side.get("error")) if isinstance(side, dict) else str(side)


KNOWN = (
    Known(
        "empty exec form of RUN",
        "BuildKit notices only when it runs the step that there is nothing to run",
        ACCEPTED,
        "RUN needs an argument",
        "FROM scratch\nRUN []\n",
    ),
    Known(
        "a space after << in COPY",
        "BuildKit takes << and the name as two files of the context, which are never there, and drops the document",
        ACCEPTED,
        "a space after <<",
        "FROM scratch\nCOPY << E /x\nE\n",
    ),
    Known(
        "a here-document in a JSON array",
        "BuildKit copies an empty file of that name",
        ACCEPTED,
        "opens no here-document here",
        'FROM scratch\nCOPY ["<<E", "/x"]\n',
    ),
    Known(
        "triggers are checked where they are written",
        "BuildKit checks what ONBUILD holds in the build that it fires in, far from who can mend it",
        ACCEPTED,
        ".",
        "FROM scratch\nONBUILD SHELL x\n",
    ),
    Known(
        "values without variables are checked in every stage",
        "BuildKit checks the options of a --mount when it comes to the step; in a stage that is not needed, never",
        ACCEPTED,
        r"^--mount|^there is no (mount type|sharing)|^a secret mount",
        "FROM scratch\nRUN --mount=type=tmpfs,target=/t,size=x y\nFROM scratch\n",
    ),
    Known(
        "the order of a mount's options means nothing",
        "BuildKit wants type= before required and size",
        r"unexpected key '(required|size)' for mount type",
        ACCEPTED,
        "FROM scratch\nRUN --mount=required,type=secret,id=x y\n",
    ),
    Known(
        "variables in COPY --from",
        "BuildKit says so only when it makes the image",
        ACCEPTED,
        "COPY --from takes no variable",
        "FROM scratch\nCOPY --from=$X a b\n",
    ),
    Known(
        "a mount in a stage called scratch, or above it",
        "BuildKit takes every mount without from= for one of `scratch`, and so of the stage of that name",
        r'circular dependency detected on stage: |cannot mount from stage "scratch"',
        ACCEPTED,
        "FROM scratch AS scratch\nRUN --mount=type=cache,target=/c y\n",
        file=r"(?i)\sas[\s\\`]+scratch\b",
    ),
    Known(
        "a mount that needs no stage, and a stage called scratch that cannot be built",
        "for the same reason BuildKit builds that stage, which nothing that is wanted comes from",
        'it needs to be defined before current stage "scratch"',
        ACCEPTED,
        "FROM onbuilder AS scratch\nFROM testbase AS base\nRUN --mount=type=cache,target=/c y\nFROM base AS testbase\n",
        file=r"(?i)\sas[\s\\`]+scratch\b",
    ),
    Known(
        "flags of instructions that have none",
        "BuildKit drops the flags of ARG, STOPSIGNAL and HEALTHCHECK NONE without a word",
        ACCEPTED,
        r"^(ARG|STOPSIGNAL|HEALTHCHECK) has no flag|given twice|needs a value",
        "FROM scratch\nSTOPSIGNAL --now SIGTERM\n",
    ),
    Known(
        "FROM finds a stage whatever its case",
        "BuildKit does so for COPY --from only; as an image such a name is always an error there",
        r"must be lowercase",
        ACCEPTED,
        "FROM scratch AS Two\nFROM Two\n",
    ),
    Known(
        "the image of a stage that is not needed is not looked at",
        "BuildKit checks how its name is written",
        "failed to parse stage name|invalid reference format",
        ACCEPTED,
        "FROM /x\nFROM scratch\n",
    ),
    Known(
        "WORKDIR with two slashes",
        "BuildKit leaves a path that begins with // as it is; here it is cleaned like any other",
        "^//a//b$",
        "^/a/b$",
        "FROM scratch\nWORKDIR //a//b\n",
    ),
    Known(
        "NUL bytes",
        "BuildKit passes them on, and no kernel, shell or JSON reader can do anything with them",
        ACCEPTED,
        "NUL byte",
        "FROM scratch\nLABEL a=\0\n",
    ),
)


def unexplained(differences: list[Difference], source: bytes) -> list[Difference]:
    """Those of the Dockerfile `source` that no row of the table excuses."""
    return [each for each in differences if not any(known.excuses(each, source) for known in KNOWN)]
