"""The Debian packages that tests need beside the cluster's: `python -m hack.packages` installs what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cluster import requirements
from hack import tools

PACKAGES: Final = {
    "curl": "/usr/bin/curl",
    "git": "/usr/bin/git",
    "openssh-client": "/usr/bin/ssh-add",
    "openssh-server": "/usr/sbin/sshd",
    "zstd": "/usr/bin/zstd",
}
"""Debian package -> a file of it."""


def main() -> None:
    """Install what is missing; without root, say what to type. Tests that need it then are skipped, or fail and name it."""
    absent = missing(PACKAGES, Path.exists)
    if absent and os.geteuid():
        tools.say(told(absent))
    elif absent:
        requirements.install(absent)


def missing(packages: Mapping[str, str], exists: Callable[[Path], bool]) -> list[str]:
    """The packages of which the file is not there."""
    return [package for package, file in packages.items() if not exists(Path(file))]


def told(absent: list[str]) -> str:
    """The line for who cannot install them."""
    return f"tests need more programs; as root:  apt-get install {' '.join(absent)}"


if __name__ == "__main__":
    tools.main(main)
