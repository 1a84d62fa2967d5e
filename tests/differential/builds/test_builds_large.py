"""Files of more than 8 GiB, whose size an octal field of a tar cannot hold: from a context, in a base, and made by a step.

In the long form alone: each passes through several times. All are sparse, and so is what is unpacked of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import IO, Any

import pytest

from support import testbase
from support.strata_build import Builder

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif("STRATA_EFFORT" not in os.environ, reason="takes minutes: `make test-differential`"),
]

PIECE = 1 << 20
SIZE = (8 << 30) + 3 * PIECE
MARKS = {0: b"begin", (8 << 30) + 1: b"beyond", SIZE - 3: b"end"}
"""What the file holds beside zeros, by place; no two in one PIECE."""
MEMORY = 160 << 20
PEAK = (
    "import resource, subprocess, sys\n"
    "done = subprocess.run(sys.argv[1:], check=False)\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10)\n"
    "sys.exit(done.returncode)\n"
)
STEP = f"""\
FROM copied
RUN stat -c %s /big > /size && tail -c 3 /big >> /size
RUN truncate -s {SIZE} /made && printf end | dd of=/made bs=1 seek={SIZE - 3} conv=notrunc
FROM scratch
COPY --from=0 /size /made /
"""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    base = testbase.write(tmp_path_factory.mktemp("testbase") / "layout")
    return Builder(tmp_path_factory.mktemp("builds"), base)


def test_files_over_8_gib_keep_size_and_content_from_a_context_through_a_base_and_out_of_a_step(
    builder: Builder, tmp_path: Path
) -> None:
    context = builder.context({}, "FROM testbase\nCOPY big /big\n")
    sparse(context / "big")
    copied = tmp_path / "copied"
    assert peak_of(builder, context, copied) < MEMORY
    assert told(copied, -1) == {"big": (SIZE, MARKS)}
    (context / "big").unlink()
    builder.named = {"copied": f"oci-layout://{copied}"}
    stepped = tmp_path / "stepped"
    assert peak_of(builder, builder.context({}, STEP), stepped) < MEMORY
    found = told(stepped, -1)
    assert found["made"] == (SIZE, {SIZE - 3: b"end"})
    assert found["size"][0] == len(f"{SIZE}\nend")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SIZE)
        for at, text in MARKS.items():
            file.seek(at)
            file.write(text)


def peak_of(builder: Builder, context: Path, layout: Path) -> int:
    """Builds into a layout; the most memory, in bytes, that a process of the build had."""
    flags = ("-o", f"type=oci,tar=false,dest={layout}")
    ended = builder.run(context, *flags, through=(sys.executable, "-c", PEAK))
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.split()[-1])


def told(layout: Path, number: int) -> dict[str, tuple[int, dict[int, bytes]]]:
    """What one layer says of its files: the size, and by their places what is no zero; as GNU tar and Python read it."""

    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    index = json.loads((layout / "index.json").read_text())
    manifest: dict[str, Any] = json.loads(blob(index["manifests"][0]["digest"]).read_bytes())
    layer = blob(manifest["layers"][number]["digest"])
    command = f"{sys.executable} -m isal.igzip -dc {layer} | tar --list --verbose"
    listed = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], check=True, capture_output=True, text=True
    ).stdout
    unpacked = [sys.executable, "-m", "isal.igzip", "-dc", str(layer)]
    with (
        subprocess.Popen(unpacked, stdout=subprocess.PIPE) as ended,
        tarfile.open(fileobj=ended.stdout, mode="r|") as tar,
    ):
        found = {member.name: (member.size, marks(tar.extractfile(member))) for member in tar if member.isfile()}
    assert {line.split()[5]: int(line.split()[2]) for line in listed.splitlines() if line[0] == "-"} == {
        name: size for name, (size, _) in found.items()
    }
    return found


def marks(content: IO[bytes] | None) -> dict[int, bytes]:
    """What it holds beside zeros, as MARKS."""
    assert content is not None
    found: dict[int, bytes] = {}
    at = 0
    while data := content.read(PIECE):
        if data.count(0) != len(data):
            start = at + len(data) - len(data.lstrip(b"\0"))
            found[start] = data.strip(b"\0")
        at += len(data)
    return found
