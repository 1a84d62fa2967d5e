"""A project that knows nothing of Strata, from its own Dockerfile as it was released: the formatter Black.

Its Dockerfile has two stages on python:3-slim, a comment within a RUN, a virtual environment, packages of Debian and of
the Python index, and a PATH that refers to itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import e2e, git_server, sdists

BLACK = sdists.Sdist("black", "23.1.0", "b0bd97bea8903f5a2ba7219257a44e3f1f9d00073d6cc1add68f0beec69692ac")
SECONDS = 900  # it installs a compiler


@pytest.fixture(scope="module")
def source(here: str) -> Iterator[e2e.Body]:
    """`spec.source` of the project: a commit of what was released."""
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as folder:
        repository = git_server.Repository.make(Path(folder), "black")
        sdists.unpack(BLACK, repository.folder)
        git_server.git("add", "--all", "--force", cwd=repository.folder)
        commit = repository.commit({}, "Release")
        with git_server.HttpServer(Path(folder), host=here) as server:
            yield {"git": {"url": f"{server.url}/black.git", "revision": commit}}


@pytest.mark.slow
def test_black_is_built_from_its_own_dockerfile_and_formats(baseline, source, times):
    status = baseline.build(e2e.image_build("black", source=source), seconds=SECONDS)
    times("black, cold", status["metrics"])
    assert baseline.run(status["image"], args=["black", "--version"]).startswith(f"black, {BLACK.version} ")
    code = ["black", "--code", "x = {  'a':1 }"]
    assert baseline.run(status["image"], args=code).strip() == 'x = {"a": 1}'
