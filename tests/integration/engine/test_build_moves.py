"""What a build moves: counted at a real registry, by a builder that has nothing but what the registry keeps."""

from __future__ import annotations

import functools
import io
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from strata_builder.engine import artifact, records
from strata_builder.frozen import replace
from strata_builder.layers.indexfile import MEDIA_TYPE
from strata_builder.oci import mediatypes
from strata_builder.oci.image import Descriptor, History, Image, LayerRef, describe
from strata_builder.oci.manifest import Manifest, parse_manifest
from strata_builder.oci.platform import host
from strata_builder.registry import push
from strata_builder.registry.client import Registry
from support import layertrees, pods, registry_process
from support.registry_requests import Requests, counted

BINARY = registry_process.find_binary()
BUILDER = Path(__file__).parents[3] / "builder"
pytestmark = pytest.mark.skipif(BINARY is None, reason="no registry binary; `make cluster-up` builds one")
_names = itertools.count()
EMPTY: Mapping[Descriptor, bytes] = {}
_SIZE = 200_000  # bytes of a file that cannot be compressed


@pytest.fixture(scope="module")
def server() -> Iterator[registry_process.RegistryProcess]:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY) as process:
        yield process


def _noise(name: str) -> bytes:
    return random.Random(name).randbytes(_SIZE)


@dataclass
class Project:
    """A context, a base of two layers, and a repository; every build has an empty folder for its state."""

    server: registry_process.RegistryProcess
    folder: Path
    name: str

    def push_base(self, *more: str, label: str = "") -> list[str]:
        """Two layers, and one for each of `more`. The digests of the layers."""
        with closing(Registry(self.server.host, insecure=True)) as registry:
            image, blobs = Image.scratch(host()), {}
            for name in ("one", "two", *more):
                items = [layertrees.folder("base"), layertrees.file(f"base/{name}", _noise(f"{self.name} {name}"))]
                packed = layertrees.packed(self.folder / f"base-{next(_names)}", items)
                layer = LayerRef(Descriptor(packed.media_type, packed.digest, packed.size), packed.diff_id)
                image = image.append(layer, History(created="2024-01-01T00:00:00Z", created_by=name))
                blobs[packed.digest] = packed.blob
            image = image.with_config(image.config.with_(labels={"round": label}))
            push.push_image(
                registry, f"bases/{self.name}", image, lambda d: lambda: blobs[d.digest].open("rb"), version="latest"
            )
            return [layer.descriptor.digest for layer in image.layers]

    def write(self, files: dict[str, bytes], *lines: str) -> None:
        for name, content in files.items():
            path = self.folder / "context" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        text = f"FROM {self.server.host}/bases/{self.name}\n" + "".join(f"{line}\n" for line in lines)
        (self.folder / "context/Dockerfile").write_text(text)

    def build(self, tag: str = "latest") -> tuple[Requests, str]:
        """What was asked, and what the builder said."""
        cache = f"type=registry,ref={self.server.host}/apps/{self.name}:cache"
        argv = [sys.executable, "-m", "strata_builder.cli", "build", "--isolation", "layers", "--push"]
        argv += ["--cache-from", cache, "--cache-to", cache, "-t", f"{self.server.host}/apps/{self.name}:{tag}"]
        self.state = self.folder / f"state-{next(_names)}"
        environment = {**os.environ, "PYTHONPATH": str(BUILDER), "STRATA_CACHE_DIR": str(self.state)}
        with counted(self.server) as asked:
            done = subprocess.run(
                [*argv, str(self.folder / "context")], env=environment, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done.stderr
        return asked, done.stderr

    def image(self, tag: str = "latest") -> Manifest:
        with closing(Registry(self.server.host, insecure=True)) as registry:
            return parse_manifest(registry.manifest(f"apps/{self.name}", tag).data)

    def cache(self) -> records.Records:
        with closing(Registry(self.server.host, insecure=True)) as registry:
            return artifact.read(registry, f"apps/{self.name}", "cache")

    def keep_instead(self, kinds: Mapping[str, str], data: bytes) -> None:
        """Puts `data` in the place of the tables of these layers, as blobs of these media types."""
        known, blob = self.cache(), describe(data, "")
        contents = {layer: records.Contents(replace(blob, media_type=kind), 0) for layer, kind in kinds.items()}
        changed = replace(known, contents={**known.contents, **contents})
        self.keep(changed.to_bytes(), changed.blobs(), {blob: data})

    def keep(self, data: bytes, named: tuple[Descriptor, ...] = (), blobs: Mapping[Descriptor, bytes] = EMPTY) -> None:
        """Makes `data` the records of the cache."""
        config = describe(data, artifact.MEDIA_TYPE)
        with closing(Registry(self.server.host, insecure=True)) as registry:
            for descriptor, content in {**blobs, config: data}.items():
                registry.upload_blob(f"apps/{self.name}", descriptor, functools.partial(io.BytesIO, content))
            manifest = Manifest(config, named, mediatypes.OCI_MANIFEST)
            push.put(registry, f"apps/{self.name}", "cache", manifest.to_bytes(), manifest.media_type)

    def layers(self) -> list[str]:
        return [layer.digest for layer in self.image().layers]


@pytest.fixture
def project(server: registry_process.RegistryProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    return Project(server, tmp_path, f"p{request.node.name.replace('_', '-')[:60]}")


FILES = {"tree/a": _noise("a"), "tree/b": b"b", "app/main": b"first"}
LINES = ("COPY tree /base/tree", "COPY app /app")


def test_a_base_never_seen_is_read_once_and_neither_kept_nor_sent(project: Project) -> None:
    base = project.push_base()
    project.write(FILES, *LINES)
    asked, _ = project.build()
    assert sorted(d for d in asked.read() if d in base) == sorted(base)
    assert sorted(asked.mounted()) == sorted(base)
    assert not set(asked.sent()) & set(base)
    assert project.layers()[:2] == base
    kept = {path.name for path in (project.state / "blobs").iterdir()}
    assert not kept & {digest.removeprefix("sha256:") for digest in base}


def test_upon_a_known_base_a_changed_file_moves_no_other_layer(project: Project) -> None:
    base = project.push_base()
    project.write(FILES, *LINES)
    project.build()
    first = project.layers()
    project.write({"app/main": b"second"})
    project.write({}, *LINES)
    asked, _ = project.build()
    *same, new = project.layers()
    assert same == first[:-1]
    assert same[:2] == base
    assert not set(asked.read()) & set(first)
    assert [digest for digest in asked.sent() if digest in first or digest == new] == [new]
    assert asked.bytes_read(lambda _: True) < _SIZE // 4


def test_below_unchanged_copies_a_new_base_moves_nothing_but_its_new_layer(project: Project) -> None:
    """Of a layer that only the new base has, the table of contents is made, once."""
    project.push_base()
    project.write(FILES, *LINES)
    project.build()
    first = project.layers()
    for more in ((), ("three",)):
        base = project.push_base(*more, label=f"new {more}")
        asked, _ = project.build()
        assert project.layers() == [*base, *first[2:]]
        assert [digest for digest in asked.read() if digest in project.layers()] == base[2:]
        assert not set(asked.sent()) & set(project.layers())


def test_where_nothing_changed_two_requests_read_the_cache_and_five_are_all_else(project: Project) -> None:
    project.push_base()
    project.write(FILES, *LINES)
    project.build()
    for tag in ("latest", "new"):
        asked, _ = project.build(tag)
        assert len(asked) <= 7, asked
        assert len(asked.of("/manifests/cache")) == 1
        assert not asked.sent()
        assert not set(asked.read()) & set(project.layers())
        assert project.image(tag) == project.image()


def test_tables_of_contents_are_kept_for_bases_and_for_layers_made(project: Project) -> None:
    project.push_base()
    project.write(FILES, *LINES)
    project.build()
    cache = project.cache()
    assert set(cache.contents) == set(project.layers())
    with closing(Registry(project.server.host, insecure=True)) as registry:
        manifest = parse_manifest(registry.manifest(f"apps/{project.name}", "cache").data)
    kinds = [layer.media_type for layer in manifest.layers]
    assert kinds.count(MEDIA_TYPE) == 4
    assert {c.blob.digest for c in cache.contents.values()} <= {layer.digest for layer in manifest.layers}


def test_a_table_that_is_gone_costs_time_and_not_the_build(project: Project) -> None:
    base = project.push_base()
    project.write(FILES, *LINES)
    project.build()
    pods.lose(project.server, project.cache().contents[base[0]].blob.digest)
    project.write({"app/main": b"second"})
    project.write({}, *LINES)
    asked, said = project.build()
    assert f"warning: the kept table of contents of layer {base[0]} is not used" in said
    assert [digest for digest in asked.read() if digest in base] == [base[0]]
    again, _ = project.build("again")
    assert len(again) <= 7
    assert project.cache().contents.keys() >= set(base)


def test_a_table_of_another_version_is_replaced_and_then_used(project: Project) -> None:
    """So is one that was written badly; each is read from its layer once more, not at every build."""
    base = project.push_base()
    project.write(FILES, *LINES)
    project.build()
    project.keep_instead({base[0]: MEDIA_TYPE.replace(".v3+", ".v1+"), base[1]: MEDIA_TYPE}, b"strata index 1\n")
    project.write({"app/main": b"second"}, *LINES)
    asked, said = project.build()
    assert sorted(digest for digest in asked.read() if digest in base) == sorted(base)
    assert f"layer {base[0]} is not used" not in said
    assert f"layer {base[1]} is not used: this is not an index of a layer" in said
    project.write({"app/main": b"third"}, *LINES)
    asked, said = project.build()
    assert not [digest for digest in asked.read() if digest in base]
    assert "is not used" not in said


def test_damaged_records_cost_one_build_its_time(project: Project) -> None:
    project.push_base()
    project.write(FILES, *LINES)
    project.build()
    project.keep(b"{}")
    _, said = project.build()
    assert "cannot be read: the cache's record is damaged" in said
    asked, said = project.build()
    assert "cannot be read" not in said
    assert len(asked) <= 7
