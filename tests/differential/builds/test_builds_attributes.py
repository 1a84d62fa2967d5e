"""What a step can do to files with a real program, since busybox cannot: capabilities, other attributes, sockets. The same
image in every rung, and beside BuildKit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from differential.builds import bench, rungs, rungtable
from differential.builds.cases import Case, Entry
from differential.builds.strata import Strata
from support import bundles, toolchains

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif("STRATA_EFFORT" not in os.environ, reason="a Python per rung: `make test-differential`"),
]

DOCKERFILE = b"""\
FROM testbase
COPY . /
RUN python3.11 -B /first.py
RUN python3.11 -B /second.py
"""
FIRST = b"""\
import os, socket
PING, BIND = (bytes.fromhex(text.ljust(40, "0")) for text in ("01000002002000", "01000002000400"))
os.makedirs("/d/e")
for name in ("cap", "changed", "taken", "user", "d/cap"):
    with open(f"/{name}", "w") as file:
        file.write(name)
    os.chmod(f"/{name}", 0o755)
for name in ("cap", "changed", "taken", "d/cap"):
    os.setxattr(f"/{name}", "security.capability", PING)
os.setxattr("/user", "user.colour", b"\\0blue\\n")
os.setxattr("/d", "user.kept", b"k")
for name in ("socket", "d/socket", "d/e/socket"):
    socket.socket(socket.AF_UNIX).bind(f"/{name}")
"""
SECOND = b"""\
import os
os.setxattr("/changed", "security.capability", bytes.fromhex("01000002000400".ljust(40, "0")))
os.removexattr("/taken", "security.capability")
os.setxattr("/user", "user.colour", b"red")
os.chmod("/d/cap", 0o711)
os.remove("/cap")
"""
KEPT = [
    "step 3: d: xattrs {'user.kept': b'k'}, BuildKit {}",
    "step 3: user: xattrs {'user.colour': b'\\x00blue\\n'}, BuildKit {}",
    "step 4: user: only Strata has it: file 0755 0:0",
]
"""Attributes are part of a file; of those that steps set BuildKit keeps capabilities alone."""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A context with a Python of this machine and the two scripts."""
    root = toolchains.collect(tmp_path_factory.mktemp("tools") / "root")
    files = [
        Entry(path.relative_to(root).as_posix(), path.read_bytes(), mode=path.stat().st_mode & 0o777)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    ]
    scripts = (Entry("Dockerfile", DOCKERFILE), Entry("first.py", FIRST), Entry("second.py", SECOND))
    return Case("run/attributes", (), (*scripts, *files))


def test_attributes_that_a_step_sets_are_in_its_layer_and_sockets_are_not(builders: bench.Bench, case: Case) -> None:
    assert builders.compare(case) == KEPT


def test_attributes_and_sockets_are_the_same_in_every_rung(
    strata: Strata, rootless_cache: Path, runtime: bundles.Bundles, case: Case
) -> None:
    first = rungs.as_root(strata, case)
    others = (rungs.rootless(strata.site, case, rootless_cache), *rungs.in_pods(strata.site, runtime, case))
    assert [other.rung for other in others] == ["rootless", "InPlace", "UserNS"]
    assert [rungtable.verdict(first, other, None) for other in others] == [""] * 3
    assert first.image is not None
    names = {path for layer in first.image.layers for path in layer}
    assert {"cap", "d/cap"} <= names
    assert not [name for name in names if "socket" in name.split("/")]
