"""Where sources are put: folders whose modes do not depend on where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MODE: Final = 0o755


def make(folder: Path) -> None:
    """Makes `folder` if it is absent, with MODE.

    A directory takes the setgid bit over from the one in which it is made (mkdir(2)), and a pod's volumes have that bit:
    without this, every folder of a source would carry it into the image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(MODE)
