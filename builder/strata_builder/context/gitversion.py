"""What the version of a git program says about it. Pure."""

from __future__ import annotations

import re
from typing import Final

#: By minor version of git 2: the first patch release that knows GIT_NO_LAZY_FETCH (release notes of git 2.39.4).
_FIRST_PATCH: Final = {39: 4, 40: 2, 41: 1, 42: 2, 43: 4, 44: 1}


def can_refrain(text: str) -> bool:
    """Whether the git of which this is the output of `git version` heeds GIT_NO_LAZY_FETCH.

    One that does not fetches each object that a partial clone lacks when it meets it, and in answer to a server of plain
    files starts itself again and again.
    """
    found = re.match(r"git version (\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        return False
    major, minor, patch = (int(part or 0) for part in found.groups())
    if major != 2:
        return major > 2
    return patch >= _FIRST_PATCH[minor] if minor in _FIRST_PATCH else minor > max(_FIRST_PATCH)
