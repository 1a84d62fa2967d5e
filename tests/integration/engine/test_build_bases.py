"""Base images of every kind: what they hold is seen alike by COPY onto them, by RUN in them and by COPY from them.

One build looks at /b of a base in three ways: by the table of contents (COPY f /b/put carries /b with its true mode,
owner and attributes), as files (RUN looks at each), and as a source (COPY --from takes all of it).
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.builds import images
from strata_builder.oci import mediatypes
from support import base_images
from support.base_images import Layer
from support.base_rows import ROWS, Row
from support.fake_registry import FakeRegistry
from support.strata_build import Builder

pytestmark = pytest.mark.root

LOOK = r"""for f; do
  printf '\036'; stat -c '%F|%a|%u:%g|%t,%T|%n' "$f"
  [ -L "$f" ] && printf '\037%s' "$(readlink "$f"; printf .)"
  [ -f "$f" ] && [ ! -L "$f" ] && { printf '\037'; head -c 40 "$f"; }
done; true
"""
LOOKS = """\
FROM {base} AS ran
RUN --mount=type=bind,source=look,target=/look find /b -exec sh /look {{}} + > /tree
FROM {base}
COPY f /b/put
COPY --from=ran /tree /tree
COPY --from={base} /b /copied
"""
LETTERS = {
    "regular file": "f",
    "regular empty file": "f",
    "directory": "d",
    "symbolic link": "l",
    "hard link": "h",
    "file": "f",
    "fifo": "p",
    "symlink": "l",
    "character device": "c",
    "block device": "b",
    "character special file": "c",
    "block special file": "b",
}


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Layer:
    return base_images.busybox_layer(tmp_path_factory.mktemp("busybox") / "layout")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


def built(builder: Builder, context: Path, *flags: str) -> tuple[images.Image, bytes]:
    """The image, and the content of its /tree."""
    archive = builder.folder / "image.tar"
    ended = builder.run(context, "-o", f"type=oci,dest={archive}", *flags)
    assert ended.returncode == 0, ended.stderr
    try:
        found = images.read(archive, {})
        tree = content_of(archive, found.manifest["layers"][-2]["digest"], "tree")
    finally:
        archive.unlink()
    assert not [fault for fault in found.faults if "twice" not in fault]
    return found, tree


def content_of(archive: Path, layer: str, path: str) -> bytes:
    with (
        tarfile.open(archive) as outer,
        tarfile.open(fileobj=outer.extractfile(f"blobs/{layer.replace(':', '/')}")) as tar,
    ):
        reader = tar.extractfile(path)
        assert reader is not None
        return reader.read()


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])
def test_a_base_is_seen_alike_from_all_sides(
    builder: Builder, registry: FakeRegistry, busybox: Layer, row: Row
) -> None:
    layers = [busybox, *row.layers]
    manifest = base_images.put(registry, "base", layers)
    dockerfile = LOOKS.format(base=f"{registry.host}/base@{manifest['digest']}")
    image, tree = built(builder, builder.context({"f": "f", "look": LOOK}, dockerfile))
    *_, onto, _, copied = image.layers
    assert image.manifest["layers"][: len(layers)] == [stored(layer) for layer in layers]
    assert without(onto, "b/put") == {"b": line(onto["b"], "b")} == {"b": row.tree[0]}
    assert looked(tree) == sorted(row.tree, key=path_of)
    assert placed(copied) == sorted(row.tree[1:], key=path_of)
    found = {path: entry.xattrs for path, entry in renamed(copied).items()} | {"b": onto["b"].xattrs}
    assert {path: xattrs for path, xattrs in found.items() if xattrs} == row.attributes


def stored(layer: Layer) -> dict[str, object]:
    """The layer's descriptor as the image must have it: the same bytes in OCI's types."""
    media_type = mediatypes.convert(layer.media_type, mediatypes.Family.OCI)
    return layer.descriptor() | {"mediaType": media_type}


def without(layer: images.Layer, path: str) -> dict[str, str]:
    return {name: line(entry, name) for name, entry in layer.items() if name not in ("", path)}


def renamed(copied: images.Layer) -> images.Layer:
    return {"b" + path.removeprefix("copied"): entry for path, entry in copied.items() if path.startswith("copied/")}


def placed(copied: images.Layer) -> list[str]:
    """What COPY --from took, as the rows have it."""
    entries = renamed(copied)
    lines = []
    for path, entry in entries.items():
        if entry.kind == "hard link":
            entry = entries["b" + entry.link.removeprefix("copied")]
        lines.append(line(entry, path))
    return sorted(lines, key=path_of)


def line(entry: images.Entry, path: str) -> str:
    text = f"{LETTERS[entry.kind]} {entry.mode:04o} {entry.uid}:{entry.gid} {path}"
    if entry.kind == "symlink":
        return f"{text} -> {entry.link}"
    if entry.kind == "file":
        return f"{text} = {entry.text.decode()}"
    return f"{text} {entry.device[0]},{entry.device[1]}" if "device" in entry.kind else text


def looked(tree: bytes) -> list[str]:
    """What RUN saw, as the rows have it."""
    return sorted((seen(record) for record in tree.split(b"\x1e")[1:]), key=path_of)


def seen(record: bytes) -> str:
    head, told, detail = record.decode(errors="surrogateescape").partition("\x1f")
    kind, mode, owner, device, path = head.removesuffix("\n").split("|", 4)
    letter = LETTERS[kind]
    text = f"{letter} {int(mode, 8):04o} {owner} {path.removeprefix('/')}"
    if letter == "l":
        return f"{text} -> {detail.removesuffix('.').removesuffix(chr(10))}"
    if letter in "cb":
        return f"{text} {','.join(str(int(number, 16)) for number in device.split(','))}"
    return f"{text} = {detail}" if told else text


def path_of(text: str) -> bytes:
    return text.split(" ", 3)[3].encode(errors="surrogateescape")
