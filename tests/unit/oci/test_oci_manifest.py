"""Manifests and indexes: what is read, what is refused, and bytes that do not depend on the order of making."""

from __future__ import annotations

import dataclasses
import json

import pytest

from strata_builder.oci import digest, errors, manifest, mediatypes
from strata_builder.oci.descriptor import Descriptor
from strata_builder.oci.manifest import Index, Manifest
from strata_builder.oci.platform import Platform

D = "sha256:" + "a" * 64
CONFIG = {"mediaType": mediatypes.OCI_CONFIG, "digest": D, "size": 2}
LAYER = {"mediaType": mediatypes.OCI_LAYER_GZIP, "digest": D, "size": 3, "annotations": {"a": "b"}}
GOOD = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}


def encode(**changes) -> bytes:
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...}).encode()


def test_a_manifest_is_read_and_written_back():
    found = manifest.parse_manifest(encode(annotations={"z": "1", "a": "2"}))
    assert found.layers == (Descriptor(mediatypes.OCI_LAYER_GZIP, D, 3, (("a", "b"),)),)
    assert found.annotations == (("a", "2"), ("z", "1"))
    assert manifest.parse(found.to_bytes()) == found


def test_null_layers_and_no_layers_are_the_same():
    assert manifest.parse_manifest(encode(layers=None)).layers == ()
    assert json.loads(Manifest(Descriptor(mediatypes.OCI_CONFIG, D, 2), ()).to_bytes())["layers"] == []


@pytest.mark.parametrize(
    "declared", [mediatypes.OCI_MANIFEST, "", "application/json", mediatypes.OCI_MANIFEST + "; charset=utf-8"]
)
def test_the_media_type_may_come_from_outside_or_inside(declared):
    assert isinstance(manifest.parse(encode(), declared), Manifest)


def test_a_manifest_without_media_type_is_taken_for_what_was_declared():
    found = manifest.parse(encode(mediaType=...), mediatypes.DOCKER_MANIFEST)
    assert found.media_type == mediatypes.DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("data", "declared", "problem"),
    [
        (encode(schemaVersion=1), "", "schema 1"),
        (encode(), "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        (encode(schemaVersion=3), "", "schemaVersion must be 2"),
        (encode(schemaVersion="2"), "", "schemaVersion must be 2"),
        (encode(manifests=[]), "", "both an index and a manifest"),
        (encode(), mediatypes.OCI_INDEX, "announced as"),
        (encode(mediaType=mediatypes.OCI_INDEX), "", "does not have its fields"),
        (encode(mediaType="text/html"), "", "unknown media type"),
        (encode(config=...), "", "config"),
        (encode(layers={}), "", "layers must be an array but is an object"),
        (encode(layers=[5]), "", r"layers\[0\] must be an object"),
        (encode(layers=[LAYER | {"size": -1}]), "", r"layers\[0\]: size"),
        (encode(layers=[LAYER | {"size": True}]), "", r"layers\[0\]: size"),
        (encode(layers=[LAYER | {"size": 1.5}]), "", r"layers\[0\]: size"),
        (encode(layers=[LAYER, LAYER | {"digest": "sha256:../../etc"}]), "", r"layers\[1\]: digest"),
        (encode(layers=[LAYER | {"annotations": {"a": 1}}]), "", r"annotations\.a must be a string"),
        (encode(layers=[LAYER] * 1025), "", "1025 layers"),
        (b"[]", "", "must be a JSON object"),
        (b"", "", "not valid JSON"),
        (b"\xff\xfe", "", "not valid JSON"),
        (b'{"schemaVersion":2,"schemaVersion":2}', "", "'schemaVersion' is given twice"),
        (b'{"schemaVersion":NaN}', "", "NaN"),
        (b"[" * 100_000, "", "nested more than 64"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "", "nested more than 64"),
        (b'{"a":"\\ud800"}', "", "not valid JSON"),
        (b"{" + b" " * (4 << 20) + b"}", "", "more than 4194304"),
        (b'{"schemaVersion":' + b"9" * 5000 + b"}", "", "not valid JSON"),
    ],
)
def test_what_is_no_manifest_is_refused_naming_the_place(data, declared, problem):
    with pytest.raises(errors.ImageInvalid, match=problem) as caught:
        manifest.parse(data, declared, name="base")
    assert caught.value.message.startswith("base") or "announced" in caught.value.message


def child(platform: str, tail: str) -> Descriptor:
    return Descriptor(mediatypes.OCI_MANIFEST, "sha256:" + tail * 64, 10, platform=Platform.parse(platform))


def test_an_index_gives_the_child_of_a_platform():
    index = Index((child("linux/amd64", "1"), child("linux/arm/v7", "2"), child("linux/arm/v6", "3")))
    read = manifest.parse_index(index.to_bytes())
    assert read == index
    assert read.select(Platform.parse("linux/arm/v6")).digest.endswith("3")
    assert read.select(Platform.parse("linux/arm")).digest.endswith("2")


def test_a_missing_platform_lists_what_there_is_but_no_attestation():
    index = Index((child("linux/amd64", "1"), child("linux/arm64", "2"), child("unknown/unknown", "3")))
    with pytest.raises(
        errors.PlatformMissing, match=r"x has no image for linux/s390x; it offers linux/amd64, linux/arm64\n"
    ):
        index.select(Platform.parse("linux/s390x"), name="x")


def test_an_index_where_a_manifest_was_expected_is_refused():
    with pytest.raises(errors.ImageInvalid, match="index"):
        manifest.parse_manifest(Index(()).to_bytes())
    with pytest.raises(errors.ImageInvalid, match="manifest"):
        manifest.parse_index(encode())


def test_media_types_convert_between_families_and_back():
    for oci in (
        mediatypes.OCI_LAYER,
        mediatypes.OCI_LAYER_GZIP,
        mediatypes.OCI_CONFIG,
        mediatypes.OCI_MANIFEST,
        mediatypes.OCI_INDEX,
    ):
        docker = mediatypes.convert(oci, mediatypes.Family.DOCKER)
        assert mediatypes.family_of(docker) is mediatypes.Family.DOCKER
        assert mediatypes.convert(docker, mediatypes.Family.OCI) == oci
    assert mediatypes.compression_of(mediatypes.DOCKER_LAYER_GZIP) == "gzip"
    with pytest.raises(errors.ImageInvalid, match="not the media type"):
        mediatypes.compression_of("application/vnd.cncf.helm.chart.content.v1.tar+gzip")


def test_digest_of_a_manifest_is_that_of_its_bytes():
    found = manifest.parse_manifest(encode())
    assert manifest.digest_of(found) == digest.of(found.to_bytes())


def test_the_platforms_of_an_index_are_told_on_one_short_line():
    odd = Platform("linux", "\n\x1b[2J" + "a" * 5000)
    index = Index((dataclasses.replace(Descriptor(mediatypes.OCI_MANIFEST, D, 2), platform=odd),))
    with pytest.raises(errors.PlatformMissing) as caught:
        index.select(Platform.parse("linux/amd64"))
    assert caught.value.message.isprintable()
    assert caught.value.hint.isprintable()
    assert len(str(caught.value)) < 1400
