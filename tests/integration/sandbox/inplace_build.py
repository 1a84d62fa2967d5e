"""Run by test_inplace_steps as PID 1 of a container of its own: steps in place, from JSON to JSON."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from strata_builder import errors
from strata_builder.entries import Entry
from strata_builder.sandbox import command, roots
from support.layertrees import file
from support.sandboxes import LocalBlobs, Steps, busybox_items

SCRATCH = Path("/.strata/scratch")


def told(entries: dict[str, Entry]) -> dict[str, list[Any]]:
    """Each entry as all of its fields that two runs must agree on."""
    return {
        path: [e.kind.name, oct(e.mode), e.uid, e.gid, e.size, e.link.decode(), len(e.xattrs)]
        for path, e in sorted(entries.items())
    }


def mounts_of(step: dict[str, Any], sources: Path) -> tuple[command.MountSpec, ...]:
    specs = []
    for given in step.get("mounts", ()):
        fields = dict(given)
        fields["target"] = fields["target"].encode()
        if "content" in fields:
            fields["content"] = base64.b64decode(fields["content"])
        if "source" in fields:
            fields["source"] = sources / fields["source"]
        specs.append(command.MountSpec(**fields))
    return tuple(specs)


def play(steps: Steps, script: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Does each step; what it said, how it ended, and its layer."""
    heard = []
    (steps.blobs.folder / "seed").mkdir(exist_ok=True)
    (steps.blobs.folder / "seed" / "x").write_text("seeded\n")
    for step in script:
        fields = {key: value for key, value in step.items() if key in ("uid", "gid", "network", "hostname", "timeout")}
        cwd = step.get("cwd", "/").encode()
        try:
            outcome = steps.run(step["run"], mounts=mounts_of(step, steps.blobs.folder), cwd=cwd, **fields)
        except errors.BuildError as error:
            heard.append({"error": f"{type(error).__name__}: {error.message}"})
            continue
        entries, gone = steps.commit(clamp=step.get("clamp"))
        heard.append({"said": steps.said(), "code": outcome.exit_code, "entries": told(entries), "gone": sorted(gone)})
    return heard


def main() -> None:
    script = json.loads(sys.stdin.read())
    blobs = LocalBlobs(SCRATCH / "blobs")
    base = blobs.must_add(busybox_items(Path("/.strata/machine/bin/busybox")))
    programs = [i for i in busybox_items(Path("/.strata/machine/bin/busybox")) if i.entry.path.startswith(b"bin")]
    lean = blobs.must_add([*programs, file("lean", b"x")])
    places = roots.InPlaceRoots(SCRATCH / "roots", blobs, SCRATCH / "caches")
    found: dict[str, Any] = {"first": play(Steps(places.open(), blobs, [base]), script)}
    again = Steps(places.open(), blobs, [lean])
    found["second stage"] = play(again, [{"run": "ls / | tr '\\n' ' '; ls /etc | tr '\\n' ' '"}])
    with places.show([base]) as shown:
        found["shown"] = sorted(path.name for path in shown.iterdir())
    found["left"] = sorted(path.name for path in (SCRATCH / "roots").iterdir())
    found["pid"] = os.getpid()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
