"""The image as a value: appending, consistency, families, equal values give equal bytes."""

from __future__ import annotations

import json

import pytest

from strata_builder.oci import digest, errors, image, manifest, mediatypes
from strata_builder.oci.image import Descriptor, History, Image, ImageConfig, LayerRef, Manifest
from strata_builder.oci.platform import Platform

AMD64 = Platform.parse("linux/amd64")


def layer(data: bytes, media_type: str = mediatypes.OCI_LAYER_GZIP) -> LayerRef:
    return LayerRef(Descriptor(media_type, digest.of(data), len(data)), digest.of(b"plain" + data))


def base(history: list[dict[str, object]], layers: int, media_type: str = mediatypes.DOCKER_LAYER_GZIP) -> Image:
    refs = [layer(bytes([n]), media_type) for n in range(layers)]
    document = {
        "os": "linux",
        "architecture": "amd64",
        "history": history,
        "rootfs": {"type": "layers", "diff_ids": [r.diff_id for r in refs]},
    }
    source = Manifest(
        Descriptor(mediatypes.DOCKER_CONFIG, digest.of(b"c"), 1),
        tuple(r.descriptor for r in refs),
        mediatypes.DOCKER_MANIFEST,
    )
    return Image.of(source, ImageConfig(document))


def counts(made: Image) -> tuple[int, int, int]:
    return (sum(not h.empty_layer for h in made.config.history), len(made.config.diff_ids), len(made.manifest.layers))


def test_an_image_without_layers_has_empty_arrays():
    made = Image.scratch(AMD64).append(None, History(created_by="LABEL a=1"))
    assert json.loads(made.manifest_bytes())["layers"] == []
    assert json.loads(made.config_bytes())["rootfs"] == {"type": "layers", "diff_ids": []}
    assert made.config.history[0].empty_layer


def test_history_diff_ids_and_layers_always_agree():
    made = Image.scratch(AMD64).append(layer(b"a"), History(created_by="COPY")).append(None, History(created_by="ENV"))
    made = made.append(layer(b"b"), History(created_by="RUN", empty_layer=True))
    assert counts(made) == (2, 2, 2)


def test_descriptors_are_those_of_the_bytes():
    made = Image.scratch(AMD64).append(layer(b"a"), History())
    assert made.descriptor.digest == digest.of(made.manifest_bytes()) == made.digest
    assert made.descriptor.platform == AMD64
    parsed = manifest.parse_manifest(made.manifest_bytes())
    assert parsed.config == made.config_descriptor
    assert parsed.config.size == len(made.config_bytes())
    assert made.size == parsed.config.size + 1


def test_equal_values_give_equal_bytes_and_the_old_value_stays():
    first = Image.scratch(AMD64)
    one, two = (
        first.append(layer(b"a"), History(created_by="x")).with_annotations([("b", "1"), ("a", "2")]) for _ in range(2)
    )
    assert one == two
    assert one.manifest_bytes() == two.manifest_bytes()
    assert first.layers == ()


def test_a_docker_base_becomes_an_oci_image_with_the_same_blobs():
    made = base([{}, {}], 2)
    assert {ref.descriptor.media_type for ref in made.layers} == {mediatypes.OCI_LAYER_GZIP}
    families = {mediatypes.family_of(d.media_type) for d in (made.config_descriptor, *made.manifest.layers)}
    assert families == {mediatypes.Family.OCI}


def test_a_docker_family_image_has_docker_types_only():
    made = Image(base([{}], 1).config, base([{}], 1).layers, family=mediatypes.Family.DOCKER)
    kinds = [made.manifest.media_type, made.manifest.config.media_type, made.manifest.layers[0].media_type]
    assert {mediatypes.family_of(kind) for kind in kinds} == {mediatypes.Family.DOCKER}


@pytest.mark.parametrize(
    ("history", "layers"),
    [([], 2), ([{"created_by": "a"}], 2), ([{}, {"empty_layer": True}, {}, {}], 2), ([{}, {}], 2)],
)
def test_a_base_whose_history_does_not_fit_is_made_to_fit(history, layers):
    made = base(history, layers)
    assert counts(made) == (layers, layers, layers)


def test_a_manifest_and_a_config_that_disagree_are_refused():
    source = Manifest(Descriptor(mediatypes.OCI_CONFIG, digest.of(b"c"), 1), (layer(b"a").descriptor,))
    with pytest.raises(errors.ImageInvalid, match="1 layers, but the config 0 diffIDs"):
        Image.of(source, ImageConfig.scratch(AMD64))
    with pytest.raises(errors.ImageInvalid, match="diffIDs"):
        Image(ImageConfig.scratch(AMD64), (layer(b"a"),))


def test_an_artifact_is_no_base():
    helm = layer(b"a", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    source = Manifest(Descriptor(mediatypes.OCI_CONFIG, digest.of(b"c"), 1), (helm.descriptor,))
    with pytest.raises(errors.ImageInvalid, match="helm"):
        Image.of(source, ImageConfig({"rootfs": {"type": "layers", "diff_ids": [helm.diff_id]}}))


def test_an_index_lists_platforms_in_one_order():
    arm, amd = Image.scratch(Platform.parse("linux/arm/v7")), Image.scratch(AMD64)
    made = image.index_of([arm, amd])
    assert made == image.index_of([amd, arm])
    entries = json.loads(made.to_bytes())["manifests"]
    assert [e["platform"] for e in entries] == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
    ]
    assert entries[0]["digest"] == amd.digest
