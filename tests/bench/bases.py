"""The base images: pushed as any builder's are, without what Strata would leave beside an image of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import trees
from differential.builds import bases as corpus
from strata_builder.context.folder import FolderTree
from strata_builder.entries import Item, Kind, Readable
from strata_builder.layers import pack
from strata_builder.oci import image as images
from strata_builder.oci import mediatypes
from strata_builder.oci.platform import Platform, host
from strata_builder.oci.reference import Reference
from strata_builder.registry import pull, push, registries
from strata_builder.registry.client import Registry

MB = 1_000_000
BOTH = (Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))


@dataclass(frozen=True, slots=True)
class Base:
    """`kind` "tiny" is a busybox and no more; over it, "mixed" has `size` MB of files, "big" as many with a few large
    ones among them, "layers" is of `size` layers. "both" is not runnable: `size` MB of files for two platforms."""

    kind: str
    size: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.size}"

    @property
    def platforms(self) -> tuple[Platform, ...]:
        return BOTH if self.kind == "both" else (host(),)

    def write(self, folder: Path) -> list[Path]:
        """Its files; a layer is made of each folder that is returned."""
        data = folder / "data"
        if self.kind in ("mixed", "both"):
            trees.mixed(data / "data", self.size * MB)
        elif self.kind == "big":
            trees.mixed(data / "data", self.size * 7 * MB // 10)
            trees.big(data / "data/big", self.size * 3 * MB // 10, random_share=0.3)
        elif self.kind == "layers":
            return [_small(folder, number) for number in range(1, self.size)]
        return [data] if data.exists() else []


def _small(folder: Path, number: int) -> Path:
    """The folder of a layer with one file."""
    (folder / str(number)).mkdir()
    (folder / f"{number}/part{number}").write_text(f"{number}\n" * 1000)
    return folder / str(number)


def _file(folder: Path, version: str) -> Path:
    """The folder of a layer that tells the version."""
    (folder / "version").mkdir()
    (folder / "version/base-version").write_text(f"{version}\n")
    return folder / "version"


@dataclass
class Bases:
    """Those that the registry at `host` has. `entries` counts each one's paths."""

    host: str
    scratch: Path
    entries: dict[Base, int] = field(default_factory=dict)
    _images: dict[Base, list[images.Image]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        corpus.push_testbase(self.host, self.scratch / "testbase")

    def reference(self, base: Base) -> str:
        """Its name and tag."""
        return f"{self.host}/bases/{base.name}:latest"

    def layers(self, base: Base) -> dict[str, int]:
        """Digest and size of its layers, of all platforms."""
        made = (layer.descriptor for image in self._images[base] for layer in image.layers)
        return {descriptor.digest: descriptor.size for descriptor in made}

    def push(self, base: Base, version: str = "") -> None:
        """Makes it where it is not there; with a `version`, another image under its name: one more small layer."""
        with (
            registries.Registries(registries.Settings(insecure=frozenset({self.host}))) as found,
            tempfile.TemporaryDirectory(dir=self.scratch) as folder,
        ):
            registry = found.get(self.host)
            if base not in self._images:
                start = [self._start(platform, base, found) for platform in base.platforms]
                self._images[base] = self._over(start, base, registry, base.write(Path(folder)))
            made = self._images[base]
            if version:
                made = self._over(made, base, registry, [_file(Path(folder), version)])
            self._tag(base, registry, made)

    def _over(
        self, below: list[images.Image], base: Base, registry: Registry, contents: list[Path]
    ) -> list[images.Image]:
        for content in contents:
            layer = self._layer(base, registry, content)
            below = [image.append(layer, images.History(created_by=content.name)) for image in below]
        return below

    def _start(self, platform: Platform, base: Base, found: registries.Registries) -> images.Image:
        if base.kind == "both":
            return images.Image.scratch(platform)
        name = Reference.parse(f"{self.host}/library/testbase:latest")
        return pull.resolve_image(name, platform, found).image

    def _layer(self, base: Base, registry: Registry, folder: Path) -> images.LayerRef:
        items = list(_items(FolderTree(folder)))
        packed = pack.pack(items, blob=folder.with_name(f"{folder.name}.blob"))
        assert packed is not None, f"the base {base.name} has an empty layer"
        self.entries[base] = self.entries.get(base, 0) + len(items)
        descriptor = images.Descriptor(packed.media_type, packed.digest, packed.size)
        registry.upload_blob(_repository(base), descriptor, lambda: packed.blob.open("rb"))
        packed.blob.unlink()
        return images.LayerRef(descriptor, packed.diff_id)

    def _tag(self, base: Base, registry: Registry, made: list[images.Image]) -> None:
        for image in made:
            ours = image.layers if base.kind != "both" else ()
            sources = {layer.descriptor.digest: "library/testbase" for layer in ours[:1]}
            push.push_image(registry, _repository(base), image, lambda _: None, mount_from=sources)
        data, kind = made[0].manifest_bytes(), made[0].manifest.media_type
        if len(made) > 1:
            data, kind = images.index_of(made).to_bytes(), mediatypes.OCI_INDEX
        push.put(registry, _repository(base), "latest", data, kind)


def _repository(base: Base) -> str:
    return f"bases/{base.name}"


def _items(tree: FolderTree) -> Iterator[Item]:
    """All that is in a folder, parents first."""
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        for name in tree.children(folder):
            path = b"/".join(filter(None, (folder, name)))
            entry = tree.lookup(path)
            assert entry is not None
            yield Item(entry, _opener(tree, path) if entry.kind == Kind.FILE else None)
            if entry.kind == Kind.DIR:
                waiting.append(path)


def _opener(tree: FolderTree, path: bytes) -> Callable[[], Readable]:
    return lambda: tree.open(path)
