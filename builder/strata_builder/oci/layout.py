"""OCI image layout: a folder, or its tar, with `oci-layout`, `index.json` and `blobs/sha256/` (image-spec,
image-layout.md).

Bytes are streamed and verified by digest and size in both directions.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from strata_builder.frozen import replace
from strata_builder.oci import digest as digests
from strata_builder.oci import errors, manifest, mediatypes, platform, strictjson, tars
from strata_builder.oci.descriptor import Descriptor, describe
from strata_builder.oci.manifest import Index, Manifest

REF_NAME: Final = "org.opencontainers.image.ref.name"
CONTAINERD_NAME: Final = "io.containerd.image.name"
_LATEST: Final = "latest"
_DEPTH: Final = 4  # of indexes in indexes
_MARKER: Final = "oci-layout"
_INDEX: Final = "index.json"
_VERSION: Final = {"imageLayoutVersion": "1.0.0"}
_COPY: Final = 1 << 20

#: Gives a reader at the first byte of a blob.
OpenBlob = Callable[[Descriptor], BinaryIO]


class Layout(Protocol):
    """What a folder and a tar have in common: read access."""

    @property
    def name(self) -> str: ...
    def index(self) -> Index: ...
    def open(self, descriptor: Descriptor) -> BinaryIO: ...


class LayoutFolder:
    """A layout in a folder. One writer at a time; blobs are renamed into place when whole."""

    def __init__(self, path: Path) -> None:
        """An existing layout. Raises ImageInvalid."""
        self.path = path
        self.name = str(path)
        _check_marker(self._small(_MARKER, 4096), self.name)

    @classmethod
    def create(cls, path: Path) -> LayoutFolder:
        """A layout without images at `path`, or the one that is already there."""
        (path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        if not (path / _INDEX).exists():
            _replace(path / _INDEX, Index(()).to_bytes())
        _replace(path / _MARKER, strictjson.dumps(_VERSION))
        return cls(path)

    def index(self) -> Index:
        return manifest.parse_index(self._small(_INDEX, manifest.MAX_MANIFEST), name=f"{self.name}/{_INDEX}")

    def open(self, descriptor: Descriptor) -> BinaryIO:
        return _verified(self._regular(_blob_path(descriptor)), descriptor, self.name)

    def has(self, descriptor: Descriptor) -> bool:
        """By presence and size; a read verifies the rest."""
        try:
            found = (self.path / _blob_path(descriptor)).lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == descriptor.size

    def put(self, descriptor: Descriptor, reader: BinaryIO) -> None:
        """Stores what `reader` gives if it is what `descriptor` says. Raises DigestMismatch."""
        if self.has(descriptor):
            return
        target = self.path / _blob_path(descriptor)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".new-", delete=False) as file:
            try:
                _copy(digests.Verifier(reader, descriptor.digest, descriptor.size), cast("BinaryIO", file))
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                Path(file.name).rename(target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def put_bytes(self, data: bytes, media_type: str) -> Descriptor:
        descriptor = describe(data, media_type)
        self.put(descriptor, io.BytesIO(data))
        return descriptor

    def add(self, descriptor: Descriptor, *, ref_name: str = "") -> None:
        """Lists a manifest or index in index.json, under `ref_name` or the names in its annotations, which it takes from
        whoever had them."""
        if ref_name:
            rest = tuple(pair for pair in descriptor.annotations if pair[0] != REF_NAME)
            descriptor = replace(descriptor, annotations=tuple(sorted((*rest, (REF_NAME, ref_name)))))
        index = self.index()
        kept = tuple(m for m in index.manifests if m != descriptor and not _same_name(m, descriptor))
        _replace(self.path / _INDEX, replace(index, manifests=(*kept, descriptor)).to_bytes())

    def _small(self, name: str, limit: int) -> bytes:
        with self._regular(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise errors.ImageInvalid(f"{self.name}/{name} has more than {limit} bytes")
        return data

    def _regular(self, name: str) -> BinaryIO:
        """No link is followed and no pipe opened, whatever a stranger has put there."""
        try:
            fd = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise errors.ImageInvalid(f"{self.name} is not a complete OCI layout: {name}: {e.strerror}") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise errors.ImageInvalid(f"{self.name}/{name} is not a regular file")
        return cast("BinaryIO", os.fdopen(fd, "rb", buffering=0))


class LayoutTar:
    """A layout in an uncompressed tar file, read in place. Close it."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.tar = open_tar(path)
        try:
            _check_marker(self.tar.read(_MARKER, limit=4096), self.name)
        except BaseException:
            self.tar.close()
            raise

    def index(self) -> Index:
        return manifest.parse_index(self.tar.read(_INDEX, limit=manifest.MAX_MANIFEST), name=f"{self.name}/{_INDEX}")

    def open(self, descriptor: Descriptor) -> BinaryIO:
        return _verified(self.tar.open(_blob_path(descriptor)), descriptor, self.name)

    def close(self) -> None:
        self.tar.close()


def open_tar(path: Path) -> tars.TarReader:
    try:
        file = path.open("rb", buffering=0)
    except OSError as e:
        raise errors.ImageInvalid(f"cannot read {path}: {e.strerror}") from None
    try:
        return tars.TarReader(cast("BinaryIO", file), name=str(path))
    except BaseException:
        file.close()
        raise


def read_bytes(layout: Layout, descriptor: Descriptor, *, limit: int) -> bytes:
    """A small blob. Raises ImageInvalid if it has more than `limit` bytes."""
    if descriptor.size > limit:
        raise errors.ImageInvalid(
            f"{layout.name}: blob {descriptor.digest} has {descriptor.size} bytes, more than {limit}"
        )
    with layout.open(descriptor) as reader:
        return reader.read()


def find(
    layout: Layout, wanted: platform.Platform, *, ref_name: str = "", digest: str = ""
) -> tuple[Descriptor, Manifest]:
    """The manifest for a platform, through nested indexes: of what has `digest`, else of what is named `ref_name`. Without
    both it is the only image of the layout, or its `latest`. Raises ImageInvalid that lists the names where that leaves a
    choice."""
    chosen = _with_digest(layout, digest) if digest else _named(layout, wanted, ref_name)
    for _ in range(_DEPTH):
        if chosen.media_type not in mediatypes.INDEXES:
            return _manifest_of(layout, chosen)
        index = _index_of(layout, chosen)
        chosen = index.manifests[0] if len(index.manifests) == 1 else index.select(wanted, name=layout.name)
    raise errors.ImageInvalid(f"{layout.name}: indexes are nested too deeply")


def _named(layout: Layout, wanted: platform.Platform, ref_name: str) -> Descriptor:
    there = layout.index().manifests
    found = _unique(m for m in there if not ref_name or m.annotation(REF_NAME) == ref_name)
    if not found:
        raise errors.ImageInvalid(f"{layout.name} has no image named {ref_name!r}; names: {_names(there) or 'none'}")
    if len(found) > 1 and not ref_name:
        found = _unique(m for m in there if m.annotation(REF_NAME) == _LATEST) or found
    if len(found) == 1:
        return found[0]
    chosen = Index(found).select(wanted, name=layout.name)
    if sum(m.platform == chosen.platform for m in found) > 1:
        what = f"several images named {ref_name!r}" if ref_name else "several images"
        raise errors.ImageInvalid(
            f"{layout.name} has {what}: {_names(found) or 'none has a name'}", hint="add :TAG or @DIGEST of the one"
        )
    return chosen


def _unique(found: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """One image may be listed under several names."""
    return tuple({m.digest: m for m in found}.values())


def _names(found: Iterable[Descriptor]) -> str:
    return ", ".join(sorted(filter(None, (m.annotation(CONTAINERD_NAME) or m.annotation(REF_NAME) for m in found))))


def _same_name(one: Descriptor, other: Descriptor) -> bool:
    """A tag is that of one image, or of as many as have different full names."""
    tags = {each.annotation(REF_NAME) for each in (one, other)}
    names = {each.annotation(CONTAINERD_NAME) for each in (one, other)}
    return len(tags) == 1 and tags != {""} and (len(names) == 1 or "" in names)


def _with_digest(layout: Layout, digest: str) -> Descriptor:
    """What is listed with `digest`, in index.json or an index in it."""
    wanted = digests.parse_digest(digest)
    level = _unique(layout.index().manifests)
    for _ in range(_DEPTH):
        for found in level:
            if found.digest == wanted:
                return found
        indexes = [each for each in level if each.media_type in mediatypes.INDEXES]
        level = _unique(child for each in indexes for child in _index_of(layout, each).manifests)
    raise errors.ImageInvalid(f"{layout.name} lists no image {wanted}")


def _index_of(layout: Layout, descriptor: Descriptor) -> Index:
    data = read_bytes(layout, descriptor, limit=manifest.MAX_MANIFEST)
    return manifest.parse_index(data, descriptor.media_type, name=f"{layout.name}: {descriptor.digest}")


def write_tar(
    out: BinaryIO,
    index: Index,
    blobs: Iterable[Descriptor],
    open_blob: OpenBlob,
    *,
    files: Iterable[tuple[str, bytes]] = (),
) -> None:
    """A layout as a tar stream, with more `files` beside it. Equal arguments give equal bytes, whatever the order of
    `blobs`.

    Raises DigestMismatch if a blob is not what its descriptor says.
    """
    out.writelines(tars.header(folder, 0, folder=True) for folder in ("blobs/", "blobs/sha256/"))
    unique = {blob.digest: blob for blob in blobs}
    for _, blob in sorted(unique.items()):
        out.write(tars.header(_blob_path(blob), blob.size))
        with open_blob(blob) as reader:
            _copy(digests.Verifier(reader, blob.digest, blob.size), out)
        out.write(tars.padding(blob.size))
    out.writelines(
        tars.header(name, len(data)) + data + tars.padding(len(data))
        for name, data in sorted([(_INDEX, index.to_bytes()), (_MARKER, strictjson.dumps(_VERSION)), *files])
    )
    out.write(tars.END)


def _manifest_of(layout: Layout, descriptor: Descriptor) -> tuple[Descriptor, Manifest]:
    data = read_bytes(layout, descriptor, limit=manifest.MAX_MANIFEST)
    return descriptor, manifest.parse_manifest(data, descriptor.media_type, name=f"{layout.name}: {descriptor.digest}")


def _verified(reader: BinaryIO, descriptor: Descriptor, name: str) -> BinaryIO:
    return cast("BinaryIO", digests.Verifier(reader, descriptor.digest, descriptor.size, name=f"{name}: blob"))


def _check_marker(data: bytes, name: str) -> None:
    version = strictjson.loads(data, limit=4096, what=f"{name}/{_MARKER}").get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise errors.ImageInvalid(f"{name} is an OCI layout of version {version!r:.20}, but only 1.x is known")


def _blob_path(descriptor: Descriptor) -> str:
    return f"blobs/sha256/{digests.hex_of(digests.parse_digest(descriptor.digest))}"


def _copy(reader: io.RawIOBase, out: BinaryIO) -> None:
    buffer = memoryview(bytearray(_COPY))
    while count := reader.readinto(buffer):
        out.write(buffer[:count])


def _replace(target: Path, data: bytes) -> None:
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_bytes(data)
    fresh.rename(target)
