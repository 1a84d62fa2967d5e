"""How long nobody acts when the operator that acts is killed, or told to end, with another one standing by."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest

from strata_operator import names
from support import kubectl
from support.small_world import Process, world

ROUNDS = int(os.environ.get("STRATA_EFFORT", "1"))


@pytest.mark.parametrize("way", ["killed", "told to end"])
def test_the_other_one_acts(tmp_path: Path, way: str) -> None:
    seconds = []
    with world(tmp_path) as (here, config):
        pair = [Process(tmp_path, config, name=name) for name in ("one", "other")]
        try:
            pair[0].start()
            kubectl.until(lambda: pair[0].acts, what="that the first acts")
            for turn in range(ROUNDS):
                first, second = pair
                second.start()
                kubectl.until(
                    lambda second=second: second.metrics("readyz") == "ok\n", what="that the second stands by"
                )
                assert not second.acts
                first.kill() if way == "killed" else first.end()
                began = time.monotonic()
                here.ask(f"b{turn}", 1)
                kubectl.until(lambda turn=turn: len(here.fake.objects[names.JOBS]) > turn, what="a Job")
                seconds.append(time.monotonic() - began)
                assert second.acts
                kubectl.until(lambda turn=turn: here.has(f"b{turn}"), what="the build")
                pair.reverse()
        finally:
            for one in pair:
                one.kill()
    assert all(len(uids) == 1 for uids in here.jobs.values())
    shown = ", ".join(f"{s:.1f}" for s in sorted(seconds))
    print(f"failover, the acting operator {way}: median {statistics.median(seconds):.1f} s until a Job ({shown})")
