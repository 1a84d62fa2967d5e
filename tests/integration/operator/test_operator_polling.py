"""The operator's process and a branch that it polls: while its clock is set, and when others are quicker than it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strata_operator import conditions, names
from support import git_server, kubectl, outside
from support.small_world import Process, World, settled, world

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
        return [build["commit"] for build in reversed(builds)] if settled(self.body) else []

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
