"""The operator's process of another commit is replaced by this one's in mid-build: nothing starts again.

STRATA_UPGRADE_FROM says from which commit (support/commits.py). With real pods: tests/e2e/alone/test_e2e_upgrade.py.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from strata_operator import names
from support import commits, kubectl
from support.small_world import Process, World, world

DONE, RUNNING, SUSPENDED = "done", "running", "suspended"
KEPT = ("builds", "digest", "inputs", "tags", "lastSuccess", "current", "image")


def mark(here: World) -> dict[str, Any]:
    """What an upgrade must leave as it is."""
    bodies = [copy.deepcopy(body) for body in here.fake.objects[names.IMAGEBUILDS].values()]
    found: dict[str, Any] = {b["metadata"]["name"]: {k: b["status"].get(k) for k in KEPT} for b in bodies}
    for kind in (names.JOBS, names.PODS):
        found[kind.plural] = {key.name: body["metadata"]["uid"] for key, body in here.fake.objects[kind].items()}
    return found


def looks(process: Process) -> float:
    """How many ImageBuilds it has looked at."""
    lines = [line for line in process.metrics().splitlines() if line.startswith("strata_reconcile_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if 'kind="imagebuild"' in line)


def status(here: World, name: str) -> Any:
    body = here.fake.get(names.IMAGEBUILDS, "team", name)
    return body["status"] if body else {}


@pytest.mark.parametrize("way", ["told to end", "killed"])
def test_nothing_starts_again_and_nothing_is_built_anew(tmp_path: Path, way: str) -> None:
    before = tmp_path / "before"
    before.mkdir()
    commits.unpacked(before)
    with world(tmp_path) as (here, config):
        here.held.add(RUNNING)
        old = Process(tmp_path, config, name="one", sources=before)
        new = Process(tmp_path, config, name="one", STRATA_RESYNC_SECONDS="2")
        try:
            old.start()
            for name in (DONE, RUNNING, SUSPENDED):
                here.ask(name, 1, **({"suspend": True} if name == SUSPENDED else {}))
            kubectl.until(lambda: here.has(DONE), seconds=90, what=DONE)
            running = lambda: status(here, RUNNING).get("current", {}).get("phase") == "Running"  # noqa: E731
            kubectl.until(running, seconds=60, what=RUNNING)
            marked = mark(here)
            old.kill() if way == "killed" else old.end()
            new.start()
            kubectl.until(lambda: new.acts and looks(new) >= 3, seconds=90, what="a look at all")
            here.ask("after", 1)
            kubectl.until(lambda: here.has("after"), seconds=90, what="after")
            now = mark(here)
            assert {name: now[name] for name in (DONE, RUNNING, SUSPENDED)} == {
                name: marked[name] for name in (DONE, RUNNING, SUSPENDED)
            }
            assert marked["jobs"].items() <= now["jobs"].items()
            assert marked["pods"].items() <= now["pods"].items()
            here.held.clear()
            kubectl.until(lambda: here.has(RUNNING), seconds=90, what=RUNNING)
            ended = status(here, RUNNING)
            assert [(b["number"], b["result"]) for b in ended["builds"]] == [(1, "Succeeded")]
            assert ended["current"]["job"] == marked[RUNNING]["current"]["job"]
            assert len(here.jobs) == 3
        finally:
            old.kill()
            new.kill()
