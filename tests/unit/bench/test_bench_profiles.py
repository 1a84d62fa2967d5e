"""What py-spy saw is told by what the code is for."""

from __future__ import annotations

import pytest

from bench import profiles

TOP = "thread (7): MainThread;<module> (<string>:1);main (strata_builder/cli/main.py:30)"
SEEN = [
    "thread (7): MainThread 5",
    f"{TOP};_find_and_load (<frozen importlib._bootstrap>:1178);<module> (strata_builder/context/folder.py:9) 15",
    f"{TOP};of_plan (strata_builder/engine/keys.py:52);digest (strata_builder/context/folder.py:9);read (io.py:4) 40",
    f"{TOP};pack (strata_builder/layers/pack.py:60) 20",
    f"{TOP};pack (strata_builder/layers/pack.py:60);finish (strata_builder/layers/pipeline.py:7);wait (threading.py:3) 900",
    "thread (8): pool;run (threading.py:982);_worker (concurrent/futures/thread.py:81) 900",
    "thread (8): pool;run (threading.py:982);_settle (strata_builder/layers/pipeline.py:81) 10",
    f"{TOP};make (strata_builder/engine/planner.py:30) 10",
]


def test_a_moment_belongs_to_the_innermost_code_of_a_phase_and_waiting_to_none() -> None:
    assert profiles.read(SEEN) == {
        profiles.START: 0.2,
        "reading and hashing the context": 0.4,
        "tar": 0.2,
        "compressing, digests, writing": 0.1,
        profiles.REST: 0.1,
    }


def test_nothing_seen_is_no_share_of_anything() -> None:
    assert profiles.read([]) == {}


def test_builds_that_lack_a_phase_count_in_its_mean() -> None:
    assert profiles.mean([{"tar": 1.0}, {"tar": 0.5, "placing": 0.5}]) == pytest.approx({"tar": 0.75, "placing": 0.25})


def test_the_table_has_a_column_for_each_build() -> None:
    lines = profiles.table({"b": {"strata": {"tar": 0.5}}, "f": {"strata-warm": {"tar": 0.25}}}).splitlines()
    assert lines[0] == "|  | b | f (strata-warm) |"
    assert "| tar | 50% | 25% |" in lines


def test_what_was_read_while_it_changed_is_left_out() -> None:
    torn = [
        f"{TOP};na",
        "me\x00 (strata_builder/layers/pack.py:1)",
        "",
        f"{TOP};pack (strata_builder/layers/pack.py:60) ²",
    ]
    assert profiles.read([*SEEN, *torn]) == profiles.read(SEEN)
