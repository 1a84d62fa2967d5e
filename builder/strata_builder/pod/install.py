"""install: a copy of the builder where its image cannot be mounted, for a container whose root the steps own."""

from __future__ import annotations

import shutil
from pathlib import Path


def run(home: Path, target: Path) -> None:
    """Copy what lies in `home` into the folder `target`, links as links. Raises OSError.

    Empty folders are copied, too: the kubelet mounts upon them.
    """
    for entry in sorted(home.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, target / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, target / entry.name, follow_symlinks=False)
