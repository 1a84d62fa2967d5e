"""What the chart's values refuse for a while: polls of addresses inside, then every build. What waited goes on by itself."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import e2e, git_server, release, waiting

WHY = "registry upgrade until 14:00"
FILES = {"Dockerfile": "FROM scratch\nCOPY said /\n", "said": "one\n"}
HELD = ("new", "inner")


@pytest.fixture(scope="module")
def changed(strata) -> Iterator[contextlib.ExitStack]:
    """The release allows no address inside until this is closed."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(release.changed(strata, {"pollAllowedCidrs": []}))
        yield stack


@pytest.fixture(scope="module")
def repository() -> Iterator[git_server.Repository]:
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as path:
        made = git_server.Repository.make(Path(path))
        made.commit(FILES)
        yield made


@pytest.fixture(scope="module")
def server(repository, here) -> Iterator[git_server.HttpServer]:
    with git_server.HttpServer(repository.bare.parent, host=here) as running:
        yield running


def test_an_address_inside_is_not_polled_and_the_condition_names_the_value_that_allows_it(changed, home, server):
    git = {"url": f"{server.url}/app.git", "revision": "main"}
    home.build(e2e.image_build("inner", source={"git": git}, triggers={"git": {"pollInterval": "10s"}}))
    server.log.clear()
    home.wait("inner", "Polling", "False", reason="AccessNotGranted")
    assert "allow it with the chart's pollAllowedCidrs" in home.conditions("inner")["Polling"]["message"]
    assert home.conditions("inner")["Ready"]["status"] == "True"
    assert server.log == []


def _held(home: e2e.Namespace, name: str) -> bool:
    """It says that all builds of the cluster are paused, and why."""
    found = home.conditions(name).get("Building", {})
    return found.get("reason") == "Paused" and f"all builds of the cluster are paused ({WHY})" in found["message"]


def test_while_all_builds_are_paused_none_starts_and_what_runs_comes_to_its_end(
    changed, strata, home, here, repository
):
    """And the block of one address is enough to have that one polled: the commit is there to wait."""
    home.apply(e2e.image_build("running", waiting.dockerfile()))
    waiting.until_running(home, "running")
    repository.commit({"said": "two\n"})
    release.change(strata, {"pollAllowedCidrs": [f"{here}/32"], "builds": {"paused": WHY}})
    home.apply(e2e.image_build("new", "FROM scratch\nLABEL a=1\n"))
    for name in HELD:
        home.until("it is paused", lambda name=name: _held(home, name), name=name)
    assert home.status("inner")["current"]["reason"] == "CommitChanged"
    status = waiting.finish(home, "running")
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "Succeeded")]
    assert [len(home.jobs(name)) for name in ("running", *HELD)] == [1, 0, 1]
    assert [_held(home, name) for name in HELD] == [True, True]


def test_when_the_pause_is_over_what_waited_is_built_by_itself(changed, home, repository):
    """The last here, for it brings the release back."""
    changed.close()
    home.wait("new")
    commit = git_server.git("rev-parse", "HEAD", cwd=repository.folder)
    home.until("the commit", lambda: home.status("inner")["source"]["commit"] == commit, seconds=120, name="inner")
    builds = home.status("inner")["builds"]
    assert [(b["number"], b["reason"]) for b in builds] == [(2, "CommitChanged"), (1, "SpecChanged")]
    assert "Polling" not in home.conditions("inner")
    assert len(home.jobs("new")) == 1
