"""What a disk that is full, or nearly so, means for what is put there."""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import memory
from strata_builder.engine import exporting, images
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


@pytest.fixture
def room() -> Iterator[int]:
    """Bytes that a file may have: of a write that is larger, the first ones are written, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, before[1]))
    yield 5
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("room")
def test_a_disk_that_takes_the_beginning_is_no_registry_that_broke_off(tmp_path: Path) -> None:
    with pytest.raises(errors.InfrastructureFailed, match="cannot store blob"):
        images.save(lambda: io.BytesIO(DATA), LAYER, tmp_path / "blob")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("room")
def test_a_step_sees_no_file_that_is_cut_short(tmp_path: Path) -> None:
    tree = memory.MemoryTree({b"f": DATA})
    with pytest.raises(OSError, match="File too large"), exporting.exported(tree, "f", "RUN", tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
