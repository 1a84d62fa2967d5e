"""The benchmark in small: it builds, counts and tells; what its figures are is for `make bench`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import lab, report, scenarios
from differential.builds import programs
from support import registry_process, testbase

SMALL = scenarios.Scenario(
    "a small file", "FROM {base}\nCOPY file /\nRUN echo {nonce} > /made\n", write=scenarios.write_file, changes="file"
)


@pytest.fixture
def bench(tmp_path: Path):
    registry = registry_process.find_binary()
    if os.getuid() != 0 or registry is None or testbase.busybox() is None:
        pytest.skip("needs root, busybox and the cluster's programs (make cluster-up)")
    if programs.BUILDKIT.cached() is None:
        pytest.skip("BuildKit is not compiled yet, which takes minutes: `make test-differential` does it")
    with lab.Lab(tmp_path, registry.parent, print) as made:
        yield made


def test_every_builder_gets_a_row_with_what_it_took(bench):
    found = bench.run(SMALL, ["strata", "buildkit", "buildkit-fresh"], 2)
    assert {name: len(rounds) for name, rounds in found.items()} == {"strata": 2, "buildkit": 2, "buildkit-fresh": 2}
    for cost in (cost for rounds in found.values() for cost in rounds):
        assert min(cost.wall, cost.cpu, cost.memory, cost.up, cost.down, cost.requests) > 0
        assert 1_000_000 < cost.stored < 10_000_000
    rows = report.table({"x": found}, {"x": SMALL.title}).splitlines()
    assert [row.split("|")[2].strip() for row in rows[2:]] == [*found]
    assert "| **x** a small file | strata | 1.00 | 1.00 |" in rows[2]
