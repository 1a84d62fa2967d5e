"""What a registry that refuses an image means for the build."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.oci.image import Descriptor, History, Image, LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.pod import publish
from strata_builder.registry import errors as registry_errors
from strata_builder.registry import retry
from strata_builder.registry.client import Registry
from support import layertrees
from support.fake_registry import Answer, FakeRegistry

UNKNOWN = Answer(404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "The repository does not exist"}]}')
HTML = Answer(404, b"<html>404 page not found</html>")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        yield made


@pytest.fixture
def registry(fake: FakeRegistry) -> Iterator[Registry]:
    policy = retry.Policy(attempts=1, sleep=lambda _: None)
    with contextlib.closing(Registry(fake.host, insecure=True, policy=policy)) as made:
        yield made


def layered(tmp_path: Path) -> tuple[Image, Path]:
    packed = layertrees.packed(tmp_path / "layer", [layertrees.file("f", b"x")])
    layer = LayerRef(Descriptor(packed.media_type, packed.digest, packed.size), packed.diff_id)
    return Image.scratch(Platform.parse("linux/amd64")).append(layer, History(created_by="COPY")), packed.blob


def nowhere(layer: LayerRef) -> Path:
    raise AssertionError(f"{layer} is at hand")


@pytest.mark.parametrize("answer", [UNKNOWN, HTML])
@pytest.mark.parametrize(("method", "path"), [("POST", "/blobs/uploads/"), ("PUT", "/manifests/")])
def test_a_repository_that_does_not_exist_is_a_push_that_is_refused_not_a_base_that_is_missing(
    fake: FakeRegistry, registry: Registry, tmp_path: Path, method: str, path: str, answer: Answer
) -> None:
    image, blob = layered(tmp_path)
    fake.fault(method, path, *[answer] * 9)
    with pytest.raises(errors.PushDenied, match=f"cannot push to {fake.host}/team/app: .* answered 404") as caught:
        publish.image(registry, "team/app", image, at_hand=lambda _: blob, bring=nowhere, mount_from={})
    assert "create the repository" in caught.value.hint


def test_a_layer_that_is_nowhere_is_no_push_that_is_refused(registry: Registry, tmp_path: Path) -> None:
    image, _ = layered(tmp_path)

    def bring(layer: LayerRef) -> Path:
        registry.blob("team/other", layer.descriptor.digest, layer.descriptor.size)
        raise AssertionError("it is not there")

    with pytest.raises(registry_errors.NotFound):
        publish.image(registry, "team/app", image, at_hand=lambda _: None, bring=bring, mount_from={})
