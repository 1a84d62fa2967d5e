"""A finished image to wherever it was asked for: a registry, an OCI or Docker archive, a folder or a tar of its files."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from strata_builder import contents
from strata_builder.cli import session, values
from strata_builder.engine import blobs, execute, hardlinks
from strata_builder.entries import Entry, Item, Kind
from strata_builder.frozen import frozen, replace
from strata_builder.layers import pack, unpack
from strata_builder.oci import archive, digest, layout, mediatypes
from strata_builder.oci.descriptor import Descriptor, describe
from strata_builder.oci.image import LayerRef, index_of
from strata_builder.oci.manifest import Index
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.pod import publish
from strata_builder.registry import push
from strata_builder.registry.client import Registry
from strata_builder.rootfs import stage_tree

Opener = Callable[[], BinaryIO]


@frozen
class Made:
    """One platform's image and where its blobs are."""

    platform: Platform
    built: execute.Built
    blobs: blobs.Blobs


def digest_of(made: list[Made]) -> str:
    """Of the image, or of the index over several platforms."""
    if len(made) == 1:
        return made[0].built.image.digest
    return digest.of(index_of(one.built.image for one in made).to_bytes())


def write(outputs: list[values.Output], made: list[Made], opened: session.Session) -> None:
    for output in outputs:
        if output.kind == "image":
            if output.push:
                _push(made, opened)
        elif output.kind == "cacheonly":
            continue
        elif output.kind in ("local", "tar"):
            _files(output, made, opened)
        elif output.kind == "docker":
            _docker(output, made, opened)
        else:
            _oci(output, made, opened)


def _push(made: list[Made], opened: session.Session) -> None:
    for name in opened.given.tag:
        reference = Reference.parse(name)
        registry = opened.registries.get(reference.host)
        tag = reference.tag or "latest"
        sent = [_push_one(one, registry, reference.repository, tag if len(made) == 1 else "", opened) for one in made]
        put = sent[0]
        if len(made) > 1:
            data = index_of(one.built.image for one in made).to_bytes()
            with publish.denied(registry.host, reference.repository):
                put = push.put(registry, reference.repository, tag, data, mediatypes.OCI_INDEX)
        opened.report.note(f"pushed {reference}@{put.digest}")


def _push_one(one: Made, registry: Registry, repository: str, tag: str, opened: session.Session) -> Descriptor:
    """One platform's image, by digest without a `tag`: then an index is to name it."""
    return publish.image(
        registry,
        repository,
        one.built.image,
        at_hand=lambda layer: _at_hand(one, layer),
        bring=one.blobs.path,
        mount_from=publish.mounts(registry.host, one.built.bases),
        present=opened.caches.present[registry.host, repository],
        version=tag,
    ).descriptor


def _at_hand(one: Made, layer: LayerRef) -> Path | None:
    place = one.blobs.place(layer.descriptor.digest)
    return place if contents.has_all(place, layer.descriptor.size) else None


def _names(opened: session.Session) -> tuple[Reference, ...]:
    return tuple(r if r.tag else r.with_tag("latest") for r in map(Reference.parse, opened.given.tag))


def _docker(output: values.Output, made: list[Made], opened: session.Session) -> None:
    with _out(output.dest) as out:
        archive.write(out, [archive.Saved(made[0].built.image, _names(opened))], _opener(made))


def _oci(output: values.Output, made: list[Made], opened: session.Session) -> None:
    documents = _documents(made)
    top = next(reversed(documents))
    small = {descriptor.digest: data for descriptor, data in documents.items()}
    found = [*documents, *(layer.descriptor for one in made for layer in one.built.image.layers)]
    names = [str(name) for name in _names(opened)] or [""]
    layers = _opener(made)

    def open_blob(wanted: Descriptor) -> BinaryIO:
        return io.BytesIO(small[wanted.digest]) if wanted.digest in small else layers(wanted)

    if output.tar:
        with _out(output.dest) as out:
            layout.write_tar(out, Index(tuple(_named(top, name) for name in names)), found, open_blob)
        return
    folder = layout.LayoutFolder.create(Path(output.dest))
    for descriptor in found:
        with open_blob(descriptor) as reader:
            folder.put(descriptor, reader)
    for name in names:
        folder.add(_named(top, name))


def _documents(made: list[Made]) -> dict[Descriptor, bytes]:
    """Configs and manifests; last what stands for all: the one manifest, or the index over those of several platforms."""
    found: dict[Descriptor, bytes] = {}
    for one in made:
        image = one.built.image
        found |= {image.config_descriptor: image.config_bytes(), image.descriptor: image.manifest_bytes()}
    if len(made) > 1:
        data = index_of(one.built.image for one in made).to_bytes()
        found[describe(data, mediatypes.OCI_INDEX)] = data
    return found


def _named(descriptor: Descriptor, name: str) -> Descriptor:
    if not name:
        return descriptor
    tag = name.rpartition(":")[2]
    annotations = ((layout.CONTAINERD_NAME, name), (layout.REF_NAME, tag))
    return replace(descriptor, annotations=annotations)


def _opener(made: list[Made]) -> Callable[[Descriptor], BinaryIO]:
    found = {layer.descriptor.digest: (one, layer) for one in made for layer in one.built.image.layers}

    def open_layer(wanted: Descriptor) -> BinaryIO:
        one, layer = found[wanted.digest]
        return one.blobs.open(layer)

    return open_layer


def _files(output: values.Output, made: list[Made], opened: session.Session) -> None:
    one = made[0]
    if output.kind == "local":
        _folder(Path(output.dest), one, opened)
        return
    packed = _packed(one, opened)
    with _out(output.dest) as out:
        if packed is None:
            out.write(bytes(10240))
            return
        with packed.blob.open("rb") as tar:
            while piece := tar.read(1 << 20):
                out.write(piece)


def _folder(root: Path, one: Made, opened: session.Session) -> None:
    """What else is there stays: a layer that hides something means the layers below it, not the files of this machine."""
    root.mkdir(parents=True, exist_ok=True)
    layers = one.built.image.layers
    if not _hides(one):
        for layer in layers:
            with one.blobs.open(layer) as blob:
                _unpack(blob, layer.descriptor.media_type, root)
    elif (packed := _packed(one, opened)) is not None:
        with packed.blob.open("rb") as tar:
            _unpack(tar, packed.media_type, root)


def _hides(one: Made) -> bool:
    shown = one.blobs.view(one.built.image.layers)
    tables = [shown.index(number) for number in range(len(one.built.image.layers))]
    return any(table.whiteouts or table.opaque for table in tables)


def _unpack(blob: BinaryIO, media_type: str, root: Path) -> None:
    owner = unpack.OwnerPolicy.STRICT if os.geteuid() == 0 else unpack.OwnerPolicy.IGNORE
    unpack.unpack_to(blob, media_type, root, overlay=False, owner=owner)


def _packed(one: Made, opened: session.Session) -> pack.PackedLayer | None:
    """All files as one plain tar; None where there is none."""
    return pack.pack(_items(one, opened), blob=opened.scratch / "files.tar", compression="none")


def _items(one: Made, opened: session.Session) -> list[Item]:
    """Every path that the image shows."""
    layers = one.built.image.layers
    tree = stage_tree.StageTree(one.blobs.view(layers), layers, one.blobs.open, opened.scratch / "files")
    found: list[Item] = []
    firsts: dict[object, bytes] = {}
    todo = [b""]
    while todo:
        folder = todo.pop()
        for name, entry, same in tree.entries(folder):
            path = folder + b"/" + name if folder else name
            if entry.kind == Kind.DIR:
                todo.append(path)
            found.append(_item(tree, entry, firsts.setdefault(same, path) if same is not None else path))
    return found


def _item(tree: stage_tree.StageTree, entry: Entry, first: bytes) -> Item:
    """`first` is the path of the file that this is a further name of, or its own."""
    path = entry.path
    if entry.kind != Kind.FILE:
        return Item(entry)
    tree.digest(path)
    item = Item(entry, lambda: tree.open(path))
    return item if first == path else hardlinks.further(item, first)


@contextlib.contextmanager
def _out(dest: str) -> Iterator[BinaryIO]:
    """`dest` as a file that is there only when whole, or standard output."""
    if dest == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(dest)
    # A device, a pipe or a link (/dev/stdout is one) is written to, never replaced.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with path.open("wb") as out:
            yield out
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as out:
            yield out
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
