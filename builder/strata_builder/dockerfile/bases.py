"""FROM."""

from __future__ import annotations

import re

from strata_builder.dockerfile import instructions as typed
from strata_builder.dockerfile import words
from strata_builder.dockerfile.faults import Fault
from strata_builder.dockerfile.flags import Kind
from strata_builder.dockerfile.statements import Statement

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")


def from_(statement: Statement) -> typed.From:
    given = statement.flags({"platform": Kind.TEXT})
    found = words.blank_separated(statement.rest)
    if len(found) not in (1, 3) or (len(found) == 3 and found[1].lower() != "as"):
        raise Fault("FROM takes an image, or an image AS a name", about=statement.rest, hint="write FROM IMAGE AS NAME")
    name = _stage_name(found[2]) if len(found) == 3 else None
    return typed.From(*statement.head, found[0], given.text("platform"), name)


def _stage_name(written: str) -> str:
    name = written.lower()
    if not _STAGE_NAME.fullmatch(name):
        raise Fault(
            f"invalid stage name {written!r}",
            about=written,
            hint="start with a letter, go on with letters, digits, '-', '_' and '.'",
        )
    return name
