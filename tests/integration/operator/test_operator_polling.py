"""The operator's process and what it polls: while its clock is set, and when others are quicker than it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strata_operator import conditions, names
from support import git_server, kubectl, outside
from support.small_world import MANIFEST, Process, World, settled, world

DAY = 86_400


@dataclass
class Followed:
    """A branch, and an ImageBuild that follows it."""

    here: World
    process: Process
    repository: git_server.Repository
    server: git_server.HttpServer

    @property
    def body(self) -> Any:
        return self.here.fake.get(names.IMAGEBUILDS, "team", "follows")

    @property
    def commits(self) -> list[str]:
        """Of all builds, the oldest first; each once it has succeeded, and if no other one has begun."""
        builds = self.body["status"].get("builds", [])
        return [build.get("commit", "") for build in reversed(builds)] if settled(self.body) else []

    def built(self, *commits: str, seconds: float = 40) -> None:
        kubectl.until(lambda: self.commits == [*commits], seconds=seconds, what=f"builds of {commits}")

    def looked_at(self) -> None:
        """Wait for a look at the branch."""
        before = len(self.server.log)
        kubectl.until(lambda: len(self.server.log) > before, seconds=30, what="a look")


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    repository = git_server.Repository.make(tmp_path / "repositories")
    with contextlib.ExitStack() as stack:
        here, config = stack.enter_context(world(tmp_path))
        server = stack.enter_context(git_server.HttpServer(tmp_path / "repositories"))
        process = Process(tmp_path, config)
        stack.callback(process.kill)
        yield Followed(here, process, repository, server)


def follow(followed: Followed) -> str:
    """Asks for it; gives the commit that is built first."""
    commit = followed.repository.commit({"file": "1"})
    git = {"url": f"{followed.server.url}/app.git", "revision": "main"}
    followed.here.ask("follows", 1, source={"git": git}, triggers={"git": {"pollInterval": "10s"}})
    followed.built(commit)
    return commit


@pytest.mark.skipif(not outside.shim(), reason="clocks are set by a library, which needs a C compiler")
@pytest.mark.parametrize("anew", [False, True], ids=["going on", "started anew"])
def test_a_clock_that_is_set_back_by_a_day_delays_no_commit(followed, anew):
    followed.process.clock.write_text(f"+{DAY}\n")
    followed.process.start()
    first = follow(followed)
    followed.looked_at()
    if anew:
        followed.process.kill()
    followed.process.clock.write_text("+0\n")
    if anew:
        followed.process.start()
    followed.built(first, followed.repository.commit({"file": "2"}))
    checked = followed.body["status"]["lastCheckedTime"]
    assert conditions.unix(checked) < time.time() + 60


def test_who_asks_for_a_build_before_a_commit_was_polled_has_it_built_once_and_nothing_older_after_it(followed):
    followed.process.start()
    first = follow(followed)
    followed.looked_at()
    second = followed.repository.commit({"file": "2"})
    body = followed.body
    body["metadata"]["annotations"] = {names.ANNOTATION_REBUILD: "now"}
    followed.here.fake.put(names.IMAGEBUILDS, body)
    followed.built(first, second, seconds=9)
    followed.looked_at()
    time.sleep(1)
    followed.built(first, second)


def test_who_asks_for_a_build_before_a_base_was_polled_has_it_built_once(followed):
    here, name = followed.here, f"{followed.here.registry.host}/team/base:latest"
    followed.process.start()
    here.bases[name] = put(here, "one")
    triggers = {"baseImages": {"pollInterval": "1m"}}
    here.ask("follows", 1, source={"inline": {"base": name}}, triggers=triggers)
    kubectl.until(lambda: here.registry.requests("HEAD", "/base/"), seconds=60, what="a look at the base")
    here.bases[name] = put(here, "two")
    body = followed.body
    body["metadata"]["annotations"] = {names.ANNOTATION_REBUILD: "now"}
    here.fake.put(names.IMAGEBUILDS, body)
    kubectl.until(lambda: len(followed.commits) == 2, seconds=30, what="the build that was asked for")
    time.sleep(8)
    assert [build["reason"] for build in followed.body["status"]["builds"]] == ["Rebuild", "SpecChanged"]
    assert followed.body["status"]["baseImages"] == [{"name": name, "digest": here.bases[name]}]


def put(here: World, text: str) -> str:
    """Have the base stand for another manifest; gives its digest."""
    config = here.registry.add_blob("team/base", b"{}")
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [], "annotations": {"text": text}}
    return here.registry.add_manifest("team/base", json.dumps(body).encode(), MANIFEST, "latest")
