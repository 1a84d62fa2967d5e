"""One reference program for the run; without Go the tests fail and say what is missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import dockerfile_reference


@pytest.fixture(scope="session")
def reference() -> Iterator[dockerfile_reference.Reference]:
    running = dockerfile_reference.Reference()
    yield running
    running.close()
