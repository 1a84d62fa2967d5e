"""Strata's images are unpacked by umoci, by way of skopeo, to exactly the files that their layers say."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from differential.builds import bench, cases, compare
from differential.builds.images import Entry, Layer
from differential.builds.test_builds_corpus import CORPUS
from support import programs

pytestmark = pytest.mark.root

CHOSEN = (
    "add/archive-with-attributes",
    "bases/layers-of-other-builders",
    "copy/odd-names",
    "run/hard-links",
    "run/removed-and-made-again",
    "run/special-files",
    "run/whiteouts",
    "stages/copy-keeps-special-bits",
)
TAKEN = CHOSEN if "STRATA_EFFORT" in os.environ else CHOSEN[::4]
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
}
Facts = tuple[str, int, int, int, str, int]
"""Kind, mode, owner, group, what a link points to, size of a file."""


@pytest.mark.parametrize("name", TAKEN)
def test_an_image_unpacks_to_what_its_layers_say(name: str, builders: bench.Bench, tmp_path: Path) -> None:
    skopeo, umoci = programs.ensure("skopeo", "skopeo"), programs.ensure("umoci", "umoci")
    case = cases.parse(name, (CORPUS / f"{name}.txt").read_text(errors="surrogateescape"))
    with builders.archive(case) as (archive, image):
        copy = [skopeo, "--insecure-policy", "copy", "-q", f"oci-archive:{archive}", f"oci:{tmp_path}/layout:image"]
        for command in (copy, [umoci, "unpack", "--image", f"{tmp_path}/layout:image", f"{tmp_path}/bundle"]):
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            assert ended.returncode == 0, ended.stderr
    state: Layer = {}
    for layer in image.layers:
        laid = compare.apply(layer, state)
        state = {path: _whole(entry, laid) for path, entry in laid.items()}
    expected = {path: _said(entry) for path, entry in state.items() if path}
    assert _found(tmp_path / "bundle/rootfs") == expected


def _whole(entry: Entry, laid: Layer) -> Entry:
    """The file itself for a hard link, whose first name may go in a later layer."""
    while entry.kind == "hard link":
        entry = laid[entry.link]
    return entry


def _said(entry: Entry) -> Facts:
    return entry.kind, entry.mode, entry.uid, entry.gid, entry.link, entry.size


def _found(root: Path) -> dict[str, Facts]:
    found: dict[str, Facts] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            info = path.lstat()
            kind = KINDS[stat.S_IFMT(info.st_mode)]
            link = os.readlink(path) if kind == "symlink" else ""
            mode = 0o777 if kind == "symlink" else stat.S_IMODE(info.st_mode)
            size = info.st_size if kind == "file" else 0
            found[path.relative_to(root).as_posix()] = (kind, mode, info.st_uid, info.st_gid, link, size)
    return found
