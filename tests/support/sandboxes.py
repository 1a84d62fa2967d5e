"""Images of busybox for tests that run steps, and blobs of layers without a registry."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from strata_builder.entries import Entry, Item, Kind
from strata_builder.layers import index, pack, unpack
from strata_builder.oci import mediatypes
from strata_builder.oci.descriptor import Descriptor
from strata_builder.oci.image import LayerRef
from strata_builder.rootfs import view
from strata_builder.sandbox import command
from support.layertrees import file, folder, link

BUSYBOX = Path("/bin/busybox")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n"


class LocalBlobs:
    """Packed layers in a folder, with their indexes in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.indexes: dict[str, index.Index] = {}
        self.opened: list[str] = []
        self._numbers = itertools.count()
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, items: Iterable[Item], whiteouts: Iterable[bytes] = ()) -> LayerRef | None:
        packed = pack.pack(items, whiteouts, blob=self.folder / f"layer-{next(self._numbers)}")
        if packed is None:
            return None
        packed.blob.rename(self.folder / packed.digest)
        self.indexes[packed.digest] = packed.index
        return LayerRef(Descriptor(packed.media_type, packed.digest, packed.size), packed.diff_id)

    def must_add(self, items: Iterable[Item], whiteouts: Iterable[bytes] = ()) -> LayerRef:
        layer = self.add(items, whiteouts)
        assert layer is not None
        return layer

    def add_tar(self, data: bytes) -> LayerRef:
        """A layer that is just these bytes."""
        contents = unpack.scan(io.BytesIO(data))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        (self.folder / digest).write_bytes(data)
        self.indexes[digest] = contents
        return LayerRef(Descriptor(mediatypes.OCI_LAYER, digest, len(data)), digest)

    def open(self, layer: LayerRef) -> BinaryIO:
        self.opened.append(layer.descriptor.digest)
        return (self.folder / layer.descriptor.digest).open("rb")

    def bring(self, layer: LayerRef) -> None:
        """It is there."""

    def recall(self, layer: LayerRef) -> index.Index | None:
        return self.indexes.get(layer.descriptor.digest)

    def view(self, layers: Sequence[LayerRef]) -> view.View:
        return view.View([self.indexes[layer.descriptor.digest] for layer in layers])


def busybox_items(busybox: Path = BUSYBOX) -> list[Item]:
    """A small root file system with a shell and the usual commands."""
    program = busybox.read_bytes()
    names = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    entry = Entry(b"bin/busybox", Kind.FILE, 0o755, size=len(program))
    return [
        folder("bin"),
        Item(entry, lambda: io.BytesIO(program)),
        *(link(f"bin/{name}", "busybox") for name in names if name != "busybox"),
        folder("etc"),
        file("etc/passwd", PASSWD),
        file("etc/group", b"root:x:0:\napp:x:1000:\n"),
        folder("tmp", 0o1777),
        folder("root", 0o700),
    ]


def shell(script: str, **fields: Any) -> command.Command:
    env = {"PATH": "/bin", "HOME": "/root"}
    return command.Command(argv=("/bin/sh", "-c", script), env=env, **fields)


class Steps:
    """A root, the layers in it, and what its steps printed: RUN after RUN as the engine does it."""

    def __init__(self, root: Any, blobs: LocalBlobs, layers: Sequence[LayerRef]) -> None:
        self.root, self.blobs, self.layers = root, blobs, list(layers)
        self.output = b""
        self.cancel = threading.Event()

    def run(
        self, script: str, *, timeout: float | None = 60, fresh: Iterable[str] = (), **fields: Any
    ) -> command.Outcome:
        """One step; its outcome. Its changes wait for `commit`."""
        return self.run_command(shell(script, **fields), timeout=timeout, fresh=fresh)

    def run_command(
        self, wanted: command.Command, *, timeout: float | None = 60, fresh: Iterable[str] = ()
    ) -> command.Outcome:
        self.output = b""
        self.root.sync(self.layers, fresh=frozenset(fresh))
        outcome: command.Outcome = self.root.run(wanted, output=self._hear, timeout=timeout, cancel=self.cancel)
        return outcome

    def commit(self, clamp: int | None = None) -> tuple[dict[str, Entry], list[str]]:
        """(entries by path, whiteouts) of the step's layer, which is now one of the root's."""
        items, whiteouts = self.root.changes(self.blobs.view(self.layers), clamp=clamp)
        found = {item.entry.path.decode(): item.entry for item in items}
        layer = self.blobs.add(items, whiteouts)
        self.root.commit(layer)
        if layer is not None:
            self.layers.append(layer)
        return found, [path.decode() for path in whiteouts]

    def step(self, script: str, **fields: Any) -> tuple[dict[str, Entry], list[str]]:
        """A step that has to succeed, and its layer."""
        outcome = self.run(script, **fields)
        assert outcome.exit_code == 0, self.output.decode()
        return self.commit()

    def said(self) -> str:
        return self.output.decode().strip()

    def _hear(self, data: bytes) -> None:
        self.output += data


@contextlib.contextmanager
def tmpfs(place: Path) -> Iterator[Path]:
    """A file system of its own at `place`, on which overlays can be made."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)
