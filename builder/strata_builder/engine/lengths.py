"""How long a path may be that a Dockerfile has made: what is longer could be unpacked nowhere.

Sources: path_resolution(7), NAME_MAX and PATH_MAX of Linux, the latter with the NUL byte at its end.
"""

from __future__ import annotations

import os
from typing import Final

from strata_builder import errors
from strata_builder.layers import paths

MOST: Final = paths.MAX_PATH - 1


def check(path: str, what: str, place: errors.Place, *, hint: str = "") -> None:
    """`path` begins at the root. Raises DockerfileError at `place` if no Linux file system takes it; `what` is what has it."""
    whole = os.fsencode(path)
    if len(whole) > MOST:
        message = f"{what} has a path of {len(whole)} bytes, more than Linux takes ({MOST})"
        raise errors.DockerfileError(message, place=place, hint=hint)
    longest = max(map(len, whole.split(b"/")))
    if longest > paths.MAX_NAME:
        message = f"{what} has a name of {longest} bytes in its path, more than Linux takes ({paths.MAX_NAME})"
        raise errors.DockerfileError(message, place=place)
