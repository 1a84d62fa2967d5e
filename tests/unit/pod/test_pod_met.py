"""The base images that a container has met, for what it says where it fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from strata_builder import contract, errors
from strata_builder.oci import errors as oci_errors
from strata_builder.oci.platform import Platform
from strata_builder.pod import met

AMD64 = Platform.parse("linux/amd64")


class Registry:
    """Has one image; what it says of others is up to the test."""

    def __init__(self, failure: errors.BuildError) -> None:
        self.failure = failure

    def resolve(self, reference: str, platform: Platform) -> Any:
        if reference == "debian":
            return SimpleNamespace(name=reference, digest="sha256:d")
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "found"),
    [
        (errors.BaseImageNotFound("gone"), ("other", "")),
        (oci_errors.PlatformMissing("no amd64"), ("other", "")),
        (errors.RegistryUnavailable("away"), None),
        (oci_errors.ImageInvalid("broken"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_was_met(failure: errors.BuildError, found: tuple[str, str] | None) -> None:
    noted = met.Met()
    images = met.Images(Registry(failure), noted.meet)
    for _ in range(2):
        assert images.resolve("debian", AMD64).digest == "sha256:d"
    with pytest.raises(type(failure)):
        images.resolve("other", AMD64)
    more = (contract.BaseImage(*found),) if found else ()
    assert noted.all() == (contract.BaseImage("debian", "sha256:d"), *more)
