"""Run by test_step_server, which kills it: two steps that never end, of root and of another user."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from strata_builder.sandbox import roots
from support.sandboxes import LocalBlobs, Steps, busybox_items


def main(scratch: Path, marker: str) -> None:
    blobs = LocalBlobs(scratch / "blobs")
    base = blobs.must_add(busybox_items())
    places = roots.UserNSRoots(scratch / "roots", blobs, scratch / "caches")
    for uid in (0, 1000):
        steps = Steps(places.open(), blobs, [base])
        script = f": {marker}; (while sleep 1; do :; done) & wait"
        threading.Thread(target=steps.run, args=(script,), kwargs={"uid": uid, "timeout": None}).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
