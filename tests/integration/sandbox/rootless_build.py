"""Run by test_rootless as an unprivileged user: enters a user namespace, runs steps there, prints what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from strata_builder import workers
from strata_builder.rootfs import kept
from strata_builder.sandbox import command, host, roots
from support.layertrees import file
from support.sandboxes import LocalBlobs, Steps, busybox_items


def main(scratch: Path) -> None:
    code = host.enter_user_namespace([sys.executable, *sys.argv])
    if code is not None:
        sys.exit(code)
    blobs = LocalBlobs(scratch / "blobs")
    far = blobs.must_add([file("far", b"x", uid=70_000_000, gid=5)])
    store = kept.Folder(scratch / "layers")
    places = roots.UserNSRoots(scratch / "roots", blobs, scratch / "caches", store=store)
    steps = Steps(places.open(), blobs, [blobs.must_add(busybox_items()), far])
    secret = command.MountSpec("secret", b"/run/secrets/s", content=b"s", uid=1000, mode=0o400)
    cache = command.MountSpec("cache", b"/c", id="c", uid=1000)
    entries, gone = steps.step(
        "id -u; stat -c %u /run/secrets/s /c; echo x > /c/x; chown 1000:33 /tmp; rm /bin/vi; mkfifo /p; mkdir /var; "
        "unshare -r true 2>/dev/null && echo nested; cat /proc/self/uid_map; chmod 600 /far && chmod 644 /far",
        mounts=(secret, cache),
    )
    first = steps.said()
    alone = steps.run("ping -c1 127.0.0.1 >/dev/null && echo lo; hostname", network="none")
    with places.show(steps.layers) as merged:
        names = sorted(path.name for path in merged.iterdir())
    places.close()
    store.close()
    opened = len(blobs.opened)
    with workers.started(1):
        places = roots.UserNSRoots(scratch / "later", blobs, scratch / "caches", store=store)
        with places.show([*steps.layers[:2], blobs.must_add([file("own", b"x", uid=1000, gid=33)])]) as merged:
            later = [
                [path.name, *_owner(path)] for path in sorted(merged.iterdir()) if path.name in ("bin", "far", "own")
            ]
        places.close()
        store.close()
    owners = {path: [entry.uid, entry.gid] for path, entry in entries.items()}
    found = {"entries": owners, "gone": gone, "said": first, "alone": [alone.exit_code, steps.said()], "names": names}
    found |= {"later": later, "opened later": len(blobs.opened) - opened}
    store.prune(0, 0)
    found |= {"kept": [p.name for p in (scratch / "layers").iterdir()]}
    print(json.dumps(found | {"left": [p.name for p in (scratch / "roots").iterdir()]}))


def _owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


if __name__ == "__main__":
    main(Path(sys.argv[1]))
