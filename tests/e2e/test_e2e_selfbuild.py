"""Strata builds itself: the same commit gives the same digest on the host and in pods of every isolation.

What is built is the commit at which the checkout stands, served by a git server of the test: changes that are not
committed play no part. Without STRATA_LONG one image is built on the host and in one isolation.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import e2e, git_server, kubectl, listings

LONG = bool(os.environ.get("STRATA_LONG"))
PARTS = ["builder", "operator"] if LONG else ["builder"]
LEVELS = {"InPlace": "baseline", "UserNS": "privileged"}
ISOLATIONS = ["InPlace", "UserNS"] if LONG else ["InPlace"]
SECONDS = 900  # two cores compile, pack and compress for all at once
ARCHIVE = "image.tar"
# Imports all that the image's programs do.
WHOLE = {
    "builder": "strata_builder.start, strata_builder.cli, strata_builder.pod.main",
    "operator": "strata_operator.main, strata_operator.nodeproxy",
}


@dataclass(frozen=True, slots=True)
class Served:
    """A commit behind a URL; `time` is its own, in seconds since 1970."""

    url: str
    commit: str
    time: int


@pytest.fixture(scope="module")
def source(here: str) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as folder:
        commit, time = git_server.serve_commit(kubectl.CHECKOUT, Path(folder), "strata")
        with git_server.HttpServer(Path(folder), host=here) as server:
            yield Served(f"{server.url}/strata.git", commit, time)


@pytest.fixture(scope="module")
def places(namespaces, ports) -> dict[str, e2e.Namespace]:
    """For each isolation a namespace that admits it, with a Registry that holds nothing yet."""
    made = {isolation: namespaces(LEVELS[isolation], "self") for isolation in ISOLATIONS}
    for place in made.values():
        place.apply(e2e.registry(next(ports)))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_commit_of_strata_gives_one_digest_wherever_it_is_built(part, source, places, strata, times, tmp_path):
    for isolation, place in places.items():
        place.apply(image_build(part, isolation, source))
    digests = {"host": host_build(part, source, strata, tmp_path)}
    for isolation, place in places.items():
        status = place.wait(part, seconds=SECONDS)
        times(f"strata's {part}, {isolation}", status["metrics"])
        assert status["current"]["isolation"] == isolation
        digests[isolation] = status["digest"]
        program = ["/.strata/bin/python3.11", "-I", "-c", f"import {WHOLE[part]}; print('whole')"]
        assert place.run(status["image"], part, command=program) == "whole\n"
    assert len(set(digests.values())) == 1, where_they_differ(part, digests, places, tmp_path / ARCHIVE)


def where_they_differ(part: str, digests: dict[str, str], places: dict[str, e2e.Namespace], archive: Path) -> str:
    """The entries that the host's image and one of a pod do not have in common."""
    on_host, told = listings.of_archive(archive), [str(digests)]
    for isolation, place in places.items():
        if digests[isolation] != digests["host"]:
            told.append(f"host, {isolation}: {listings.differences(on_host, place.image_entries(part))}")
    return "\n".join(told)


def image_build(part: str, isolation: str, source: Served) -> e2e.Body:
    git = {"url": source.url, "revision": source.commit}
    dockerfile = {"path": f"{part}/Dockerfile"}
    return e2e.image_build(part, dockerfile, source={"git": git}, sourceDateEpoch=source.time, isolation=isolation)


def host_build(part: str, source: Served, strata: kubectl.Kubectl, folder: Path) -> str:
    """What the README tells people to type, with a cache that is empty; gives the image's digest."""
    told = folder / "told.json"
    argv = [str(kubectl.CHECKOUT / ".venv/bin/strata"), "build", "--progress", "plain"]
    argv += ["--registry-mirror", f"docker.io=http://{strata.where.registry}"]
    argv += ["--file", f"{part}/Dockerfile", "--metadata-file", str(told)]
    argv += ["--output", f"type=oci,dest={folder / ARCHIVE}", f"{source.url}#{source.commit}"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(source.time), "STRATA_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(json.loads(told.read_text())["containerimage.digest"])
