"""Source distributions of other projects, from the Python package index: pinned by digest and kept in the cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cluster import folders


@dataclass(frozen=True, slots=True)
class Sdist:
    """One release of a project; `sha256` is that of its .tar.gz."""

    project: str
    version: str
    sha256: str

    @property
    def stem(self) -> str:
        """The name of the archive without .tar.gz, and of the one folder in it."""
        return f"{self.project}-{self.version}"


def unpack(sdist: Sdist, folder: Path) -> None:
    """Writes the project's files into `folder`, as they are."""
    with tarfile.open(_archive(sdist)) as tar:
        for member in tar:
            if content := tar.extractfile(member):
                place = folder / member.name.removeprefix(f"{sdist.stem}/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content.read())
                place.chmod(member.mode)


def _archive(sdist: Sdist) -> Path:
    """The archive in the cache; fetched if it is not there, and what has another digest is never taken."""
    place = folders.cache() / "sdists" / f"{sdist.stem}.tar.gz"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as scratch:
            _download(sdist, Path(scratch))
            Path(scratch, place.name).replace(place)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    assert digest == sdist.sha256, f"{place} has the sha256 {digest}, not {sdist.sha256}: remove it"
    return place


def _download(sdist: Sdist, folder: Path) -> None:
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{sdist.project}=={sdist.version} --hash=sha256:{sdist.sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    options = ["--no-binary", sdist.project, "--require-hashes", "--requirement", str(pinned), "--dest", str(folder)]
    done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pip could not download {sdist.stem}: {done.stderr}")
