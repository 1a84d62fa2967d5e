"""A full disk, said as a limit that the user can raise."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strata_builder import errors

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def full_is_a_limit(folder: Path) -> Iterator[None]:
    """Turns the OSError of a full disk into StorageLimitExceeded, naming `folder`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise errors.StorageLimitExceeded(
            f"no space left in {folder} while a layer was written",
            hint="give the build more ephemeral storage, or make the layer smaller",
        ) from error
