"""The simplest file systems in which steps can run: layers unpacked into a folder, commands under chroot(8).

Needs root. Stands in for a rung of isolation where a test is about what surrounds it. Secrets lie in the root during a
step, and are taken out again before its changes are read.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strata_builder import contract
from strata_builder.engine.blobs import Blobs
from strata_builder.layers import diff, unpack
from strata_builder.layers.items import Items
from strata_builder.oci.image import LayerRef
from strata_builder.pod.paths import Paths
from strata_builder.rootfs.view import View


@dataclass(frozen=True, slots=True)
class Outcome:
    exit_code: int
    oom: bool = False


class ChrootRoots:
    exclusive = True

    def __init__(self, blobs: Blobs, scratch: Path) -> None:
        self._blobs, self._scratch = blobs, scratch

    def open(self) -> ChrootRoot:
        return ChrootRoot(self._blobs, Path(tempfile.mkdtemp(dir=self._scratch)))

    @contextlib.contextmanager
    def show(self, layers: Sequence[LayerRef]) -> Iterator[Path]:
        root = self.open()
        root.sync(layers)
        yield root.folder
        root.close()

    def caches(self) -> Path:
        return self._scratch / "caches"


class ChrootRoot:
    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs, self.folder, self._have = blobs, folder, 0

    def sync(self, layers: Sequence[LayerRef], *, fresh: Collection[str] = ()) -> None:
        for layer in layers[self._have :]:
            with self._blobs.open(layer) as blob:
                unpack.unpack_to(blob, layer.descriptor.media_type, self.folder, overlay=False)
        self._have = len(layers)

    def run(
        self, wanted: Any, *, output: Callable[[bytes], None], timeout: float | None, cancel: threading.Event
    ) -> Outcome:
        placed = [self._place(mount) for mount in wanted.mounts if mount.kind == "secret"]
        process = subprocess.Popen(
            [shutil.which("chroot") or "/usr/sbin/chroot", str(self.folder), *wanted.argv],
            env=dict(wanted.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=_kill_when, args=(cancel, timeout, process), daemon=True).start()
        assert process.stdout is not None
        for line in process.stdout:
            output(line)
        process.stdout.close()
        code = process.wait()
        for path in placed:
            path.unlink()
            path.parent.rmdir()
        return Outcome(code if code >= 0 else 128 - code)

    def _place(self, mount: Any) -> Path:
        path: Path = self.folder / mount.target.decode().lstrip("/")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(mount.content)
        return path

    def changes(self, lower: View, *, clamp: int | None) -> tuple[Items, list[bytes]]:
        return diff.diff_walk(self.folder, lower, clamp_mtime=clamp)

    def commit(self, layer: LayerRef | None) -> None:
        self._have += layer is not None

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def make(request: contract.BuildRequest, blobs: Blobs, paths: Paths) -> ChrootRoots:
    """As `strata_builder.pod.rungs.roots`."""
    return ChrootRoots(blobs, paths.scratch)


def main() -> None:
    """The build role of a pod, with these roots."""
    from strata_builder import start
    from strata_builder.pod import main as pod
    from strata_builder.pod import rungs

    rungs.roots = make  # type: ignore[assignment]
    start.leave(pod.main())


def _kill_when(cancel: threading.Event, timeout: float | None, process: subprocess.Popen[bytes]) -> None:
    cancel.wait(timeout)
    process.kill()


if __name__ == "__main__":
    main()
