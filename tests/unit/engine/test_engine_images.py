"""Layers of bases on their way to the disk."""

from __future__ import annotations

import errno
import io
import os
import shutil
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.engine import images
from strata_builder.oci import digest, mediatypes
from strata_builder.oci.image import Descriptor

DATA = b"a layer"
LAYER = Descriptor(mediatypes.OCI_LAYER, digest.of(DATA), len(DATA))


@pytest.mark.parametrize(
    ("number", "reason", "retried"),
    [
        (errno.ENOSPC, "StorageLimitExceeded", False),
        (errno.EDQUOT, "StorageLimitExceeded", False),
        (errno.EIO, "InfrastructureFailed", True),
    ],
)
def test_a_disk_that_is_full_is_a_limit_and_one_that_fails_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str, retried: bool
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(errors.BuildError, match=str(tmp_path)) as caught:
        images.save(lambda: io.BytesIO(DATA), LAYER, tmp_path / "blob")
    assert (caught.value.reason, caught.value.retryable) == (reason, retried)
    assert list(tmp_path.iterdir()) == []
