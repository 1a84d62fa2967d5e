"""Run by test_no_pivot: a step where pivot_root is forbidden, as the default filter of container runtimes has it."""

from __future__ import annotations

import errno
import struct
import sys
from pathlib import Path

from strata_builder.sandbox import roots, seccomp
from support.layertrees import file
from support.sandboxes import LocalBlobs, Steps, busybox_items

PIVOT_ROOT = 155
FILTER = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x20, 0, 0, 0),  # the number of the call
        (0x15, 0, 1, PIVOT_ROOT),
        (0x06, 0, 0, 0x00050000 | errno.EPERM),
        (0x06, 0, 0, 0x7FFF0000),
    )
)


def main(scratch: Path, escape: Path) -> None:
    seccomp.install(FILTER)
    blobs = LocalBlobs(scratch / "blobs")
    places = roots.UserNSRoots(scratch / "roots", blobs, scratch / "caches")
    program = blobs.must_add([file("escape", escape.read_bytes(), 0o755)]) if escape.exists() else None
    layers = [blobs.must_add(busybox_items()), *([program] if program else [])]
    steps = Steps(places.open(), blobs, layers)
    steps.step("ls /; ls /../..; [ ! -e /escape ] || /escape; umount / 2>&1; wc -l < /proc/self/mountinfo")
    print(steps.said())
    places.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
