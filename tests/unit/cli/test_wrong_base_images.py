"""Base images that cannot be built upon: each is refused with the image's name, what is wrong and what to do, and what
cannot heal is asked for once."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strata_builder import cli, contract
from strata_builder.oci import mediatypes
from support import base_images, tars
from support.base_images import Layer, gzipped, index, on, raw, tar
from support.fake_registry import Answer, FakeRegistry

SIMPLE = tar(("b/", "d", 0o755), ("b/x", "x", 0o644))
LAYER = Layer(SIMPLE)
AGAIN = "use another tag or digest of the image, or build and push it again"
PUSH = "the image is incomplete: push all of it to HOST again, or use another one"
DAMAGED = "the content stored at HOST may be damaged: push the image there again"
ARTIFACT = "the reference names an artifact (a chart, a signature, ...): name an image"
UNPACKED = "no unpacker can write it; the tool that made this layer or archive has to be asked"
FOREIGN = "use a base image without such layers; those of Windows have them, and are not built here"


@dataclass(frozen=True, slots=True)
class Row:
    """`message` and `hint` with HOST for the registry and DIGEST for any digest; `line` is that of the Dockerfile: 1 is
    FROM, 2 the COPY for which the layers are read. `again` is how often one thing may be asked for."""

    make: Callable[[FakeRegistry], object]
    message: str
    hint: str
    line: int = 1
    again: int = 1


def image(
    *layers: Layer, document: Mapping[str, Any] | bytes | None = None, **fields: Any
) -> Callable[[FakeRegistry], Any]:
    return lambda registry: base_images.put(registry, "base", layers, document, **fields)


def answering(content_type: str, body: bytes) -> Callable[[FakeRegistry], None]:
    return lambda registry: registry.fault("GET", "/manifests/", Answer(200, body, {"Content-Type": content_type}))


def listing(*platforms: tuple[str, str]) -> Callable[[FakeRegistry], None]:
    """An index of images for (architecture, system)."""

    def make(registry: FakeRegistry) -> None:
        child = base_images.put(registry, "base", [LAYER])
        base_images.put_manifest(registry, "base", index(*(on(child, *platform) for platform in platforms)))

    return make


def lacking(what: str) -> Callable[[FakeRegistry], None]:
    """An index whose image lacks its manifest, config or layer."""

    def make(registry: FakeRegistry) -> None:
        document = base_images.config([LAYER])
        child = base_images.put(registry, "base", [LAYER], document)
        base_images.put_manifest(registry, "base", index(on(child)))
        if what == "manifest":
            del registry.manifests["base"][child["digest"]]
        else:
            lost = LAYER.stored if what == "layer" else json.dumps(document).encode()
            del registry.blobs["base"][base_images.sha256(lost)]

    return make


def damaged(registry: FakeRegistry) -> None:
    base_images.put(registry, "base", [LAYER])
    registry.blobs["base"][LAYER.diff_id] = SIMPLE.replace(b"x", b"y")


def damaged_config(registry: FakeRegistry) -> None:
    document = base_images.config([LAYER])
    base_images.put(registry, "base", [LAYER], document)
    data = json.dumps(document).encode()
    registry.blobs["base"][base_images.sha256(data)] = data.replace(b"linux", b"xunil")


def nested(depth: int) -> Callable[[FakeRegistry], None]:
    def make(registry: FakeRegistry) -> None:
        child = base_images.put(registry, "base", [LAYER])
        for _ in range(depth):
            child = base_images.put_manifest(registry, "base", index(child))

    return make


def for_another(registry: FakeRegistry) -> None:
    """An index whose one child says nothing of its platform, and is for another."""
    document = base_images.config([LAYER], architecture=base_images.ELSEWHERE)
    base_images.put_manifest(registry, "base", index(base_images.put(registry, "base", [LAYER], document)))


def artifact(config_type: str, layer_type: str, **fields: Any) -> Callable[[FakeRegistry], None]:
    def make(registry: FakeRegistry) -> None:
        digest = registry.add_blob("base", b"{}")
        config = {"mediaType": config_type, "digest": digest, "size": 2}
        base_images.put(registry, "base", [Layer(b"{}", layer_type)], config=config, **fields)

    return make


TARGET = f"linux/{base_images.testbase.ARCHITECTURE}"
OTHER = f"linux/{base_images.ELSEWHERE}"
FIRST = "layer 1 of 1 (DIGEST)"
ROWS = {
    "nothing of that name": Row(
        lambda _: None,
        "pull manifest base:latest: HOST/base answered 404 MANIFEST_UNKNOWN: manifest_unknown",
        "check the name and tag in FROM; for a private image give credentials (docker login, or spec.pullSecrets)",
    ),
    "schema 1": Row(
        answering("application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion": 1, "fsLayers": []}'),
        " is in Docker's schema 1, which is no longer supported",
        "pull and push the image again with a current client, or use a newer tag",
    ),
    "a page": Row(
        answering("text/html; charset=utf-8", b"<html>sign in"),
        "text/html was answered where a manifest is expected",
        "check that the host in the name is a registry, and that no page (a login, a proxy's) stands before it",
    ),
    "a manifest of an unknown type": Row(
        answering("application/x", b'{"schemaVersion": 2, "mediaType": "application/vnd.example.v3+json"}'),
        " has the unknown media type 'application/vnd.example.v3+json'",
        "name an image: its manifest is one of OCI's, or of Docker's schema 2",
    ),
    "an index without our platform": Row(
        listing((base_images.ELSEWHERE, "linux"), ("amd64", "windows"), ("unknown", "unknown")),
        f" has no image for {TARGET}; it offers {OTHER}, windows/amd64",
        f"use an image for {TARGET}, or build for another platform: --platform={OTHER}",
    ),
    "an empty index": Row(
        lambda registry: base_images.put_manifest(registry, "base", index()),
        f" has no image for {TARGET}; it offers no platform at all",
        f"use an image for {TARGET}",
    ),
    "an index of an image whose config is for another platform": Row(
        for_another,
        f" has no image for {TARGET}; it offers {OTHER}",
        f"use an image for {TARGET}, or build for another platform: --platform={OTHER}",
    ),
    "indexes that are nested too deeply": Row(nested(6), "its indexes are nested more than 4 levels deep", AGAIN),
    "an index whose manifest is missing": Row(
        lacking("manifest"),
        "the image is incomplete: pull manifest base@DIGEST: HOST/base answered 404 MANIFEST_UNKNOWN: manifest_unknown",
        "push all of it to HOST again, or use another one",
    ),
    "a config that is missing": Row(
        lacking("config"),
        "the image is incomplete: pull blob DIGEST: HOST/base answered 404 BLOB_UNKNOWN: blob_unknown",
        "push all of it to HOST again, or use another one",
    ),
    "a config of other content": Row(
        damaged_config,
        "blob of HOST/base should have digest DIGEST but has DIGEST (SIZE bytes)",
        DAMAGED,
    ),
    "a config that is no JSON": Row(
        image(LAYER, document=b"not json"), "config is not valid JSON: Expecting value: line 1 column 1 (char 0)", AGAIN
    ),
    "an empty config": Row(image(LAYER, document=b""), " (DIGEST) has an empty config", AGAIN),
    "a config of wrong types": Row(
        image(LAYER, document=base_images.config([LAYER], {"Env": "A=b"})),
        "config: Env must be an array but is a string",
        AGAIN,
    ),
    "a config of fewer layers": Row(
        image(LAYER, document=base_images.config([])), "the manifest has 1 layers, but the config 0 diffIDs", AGAIN
    ),
    "a chart": Row(
        artifact("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
        " is not an image but an artifact of type application/vnd.cncf.helm.config.v1+json",
        "name an image in its place",
    ),
    "an artifact without a config": Row(
        artifact(mediatypes.OCI_EMPTY, "text/spdx", artifactType="application/vnd.example.sbom"),
        " is not an image but an artifact of type application/vnd.example.sbom",
        "name an image in its place",
    ),
    "a signature": Row(
        image(Layer(b"{}", "application/vnd.dev.cosign.simplesigning.v1+json")),
        f"{FIRST} has the media type 'application/vnd.dev.cosign.simplesigning.v1+json', which is none of a file "
        "system's layer",
        ARTIFACT,
    ),
    "a layer of an unknown type": Row(
        image(LAYER, Layer(SIMPLE, "application/vnd.example.layer.v9")),
        "layer 2 of 2 (DIGEST) has the media type 'application/vnd.example.layer.v9', which is none of a file system's "
        "layer",
        ARTIFACT,
    ),
    "an encrypted layer": Row(
        image(Layer(SIMPLE, mediatypes.OCI_LAYER_GZIP + "+encrypted")),
        f"{FIRST} is encrypted (application/vnd.oci.image.layer.v1.tar+gzip+encrypted)",
        "put a copy without encryption into your registry (skopeo copy --decryption-key ...), and use that",
    ),
    "a foreign layer of Docker's": Row(
        image(Layer(SIMPLE, mediatypes.DOCKER_FOREIGN_GZIP, urls=("https://example.com/layer",))),
        f"{FIRST} is foreign (application/vnd.docker.image.rootfs.foreign.diff.tar.gzip): it may not be given away, and "
        "need not be in the registry, but at https://example.com/layer",
        FOREIGN,
    ),
    "a foreign layer of OCI's": Row(
        image(gzipped(SIMPLE, media_type=mediatypes.OCI_FOREIGN_GZIP)),
        f"{FIRST} is foreign (application/vnd.oci.image.layer.nondistributable.v1.tar+gzip): it may not be given away, "
        "and need not be in the registry",
        FOREIGN,
    ),
    "a layer that is missing": Row(
        lacking("layer"),
        f"{FIRST}: pull blob DIGEST: HOST/base answered 404 BLOB_UNKNOWN: blob_unknown",
        PUSH,
        line=2,
    ),
    "a layer of another size": Row(
        image(LAYER, layers=[LAYER.descriptor() | {"size": len(SIMPLE) + 5}]),
        f"{FIRST}: blob DIGEST of HOST/base should have 10245 bytes, but the registry gives 10240",
        DAMAGED,
        line=2,
        again=2,
    ),
    "a layer of other content": Row(
        damaged,
        f"{FIRST}: blob of HOST/base should have digest DIGEST but has DIGEST (SIZE bytes)",
        DAMAGED,
        line=2,
        again=2,
    ),
    "a layer of another diffID": Row(
        image(LAYER, document=base_images.config([Layer(SIMPLE + bytes(512))])),
        f"{FIRST}: the layer's content has the digest DIGEST, but the image's config says DIGEST",
        AGAIN,
        line=2,
    ),
    "gzip that is cut short": Row(
        image(Layer(SIMPLE, mediatypes.OCI_LAYER_GZIP, gzipped(SIMPLE).blob[:-20])),
        f"{FIRST}: the gzip data is cut short",
        AGAIN,
        line=2,
    ),
    "gzip followed by something else": Row(
        image(gzipped(SIMPLE, tail=b"something")),
        f"{FIRST}: something that is not gzip follows the gzip data",
        AGAIN,
        line=2,
    ),
    "garbage as zstd": Row(
        image(Layer(SIMPLE, mediatypes.OCI_LAYER_ZSTD, b"\x28\xb5\x2f\xfd" + b"garbage" * 9)),
        f"{FIRST}: the zstd data is damaged: Unable to decompress Zstandard data: Dictionary mismatch",
        AGAIN,
        line=2,
    ),
    "a tar that is cut short": Row(
        image(Layer(SIMPLE[:700])), f"{FIRST}: after entry 'b/': the archive is cut short", AGAIN, line=2
    ),
    "no tar at all": Row(
        image(Layer(b"no tar at all" * 60)),
        f"{FIRST}: the beginning of the archive: the field 'checksum' of the tar header is no number: b'r at all'",
        AGAIN,
        line=2,
    ),
    "an entry below a link of its layer": Row(
        image(Layer(raw(tars.member(b"b", b"", b"2", link=b"/etc"), tars.member(b"b/passwd", b"x")))),
        f"{FIRST}: entry 'b/passwd' stands below 'b', which the same layer makes a symbolic link",
        AGAIN,
        line=2,
    ),
    "a hard link to what its layer does not hold": Row(
        image(LAYER, Layer(tar(("b/h", "=> b/x", 0o644)))),
        "layer 2 of 2 (DIGEST): entry 'b/h' is a hard link to 'b/x', which is no file that stands before it in the same "
        "layer",
        AGAIN,
        line=2,
    ),
}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])
def test_a_wrong_base_is_refused_with_its_name_and_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    registry: FakeRegistry,
    row: Row,
) -> None:
    row.make(registry)
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "f").write_text("f")
    (tmp_path / "Dockerfile").write_text(f"FROM {registry.host}/base\nCOPY f /b/\n")
    code = cli.main(["build", "--progress=quiet", "-o", f"type=oci,dest={tmp_path / 'image'}", str(tmp_path)])
    said = re.sub(r"sha256:[0-9a-f]{64}", "DIGEST", capsys.readouterr().err).replace(registry.host, "HOST")
    head, *_, hint = re.sub(r"\(\d+ bytes\)", "(SIZE bytes)", said).splitlines()
    separator = "" if row.message.startswith(" ") else ": "
    assert head == f"error: Dockerfile:{row.line}: base image HOST/base{separator}{row.message}"
    assert hint == f"hint: {row.hint}"
    assert code == contract.ExitCode.FAILED
    assert not (tmp_path / "image").exists()
    asked = Counter(seen.path for seen in registry.seen if seen.path != "/v2/")
    assert max(asked.values()) <= row.again
