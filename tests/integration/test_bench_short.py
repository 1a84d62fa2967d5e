"""The benchmark in small: it builds, counts and tells; what its figures are is for `make bench`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import bases, costs, lab, report, results, scenarios
from differential.builds import programs
from support import registry_process, testbase

NAMES = ("strata", "buildkit", "buildkit-fresh")
BASE = bases.Base("layers", 3)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    registry = registry_process.find_binary()
    if os.getuid() != 0 or registry is None or testbase.busybox() is None:
        pytest.skip("needs root, busybox and the cluster's programs (make cluster-up)")
    if programs.BUILDKIT.cached() is None:
        pytest.skip("BuildKit is not compiled yet, which takes minutes: `make test-differential` does it")
    with lab.Lab(tmp_path_factory.mktemp("bench"), registry.parent, print) as made:
        yield made


def built(bench: lab.Lab, wanted: scenarios.Scenario, rounds: int) -> results.Measured:
    found = results.Measured()
    outcome = bench.run(
        wanted, dict.fromkeys(NAMES, rounds), lambda name, cost: found.rounds.setdefault(name, []).append(cost)
    )
    found.entries, found.skipped = outcome.entries, outcome.skipped
    return found


def every(found: results.Measured) -> list[costs.Cost]:
    return [cost for rounds in found.rounds.values() for cost in rounds]


def test_every_builder_gets_a_row_with_what_it_took(bench):
    text = "FROM {base}\nCOPY file /\nRUN echo {nonce} > /made\n"
    found = built(bench, scenarios.Scenario("a file", text, BASE, scenarios.write_file, "file", makes=1), 2)
    assert {name: len(rounds) for name, rounds in found.rounds.items()} == dict.fromkeys(NAMES, 2)
    assert found.entries == 4
    for cost in every(found):
        assert min(cost.wall, cost.cpu, cost.memory, cost.disk, cost.up, cost.down, cost.requests, cost.grown) > 0
        assert 200 < cost.stored < 5000
    lines = report.table({"x": found}).splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:]] == [*NAMES]
    assert "| **x** x | strata | 1.00 | 1.00 | 1.00 |" in lines[2]


def test_nothing_that_one_build_has_left_is_there_for_the_next(bench):
    bench.bases.push(BASE)
    bench.registry.mark()
    before = bench.registry.used()
    found = built(bench, scenarios.Scenario("a file", "FROM {base}\nCOPY file /\n", BASE, scenarios.write_file), 2)
    assert bench.registry.used() == before
    assert {cost.grown > 0 for cost in every(found)} == {True}  # in each round each pushes the same file again


def test_a_row_of_builds_goes_through_its_projects_and_keeps_what_it_learns(bench):
    def write(context: Path) -> None:
        for number in range(2):
            (context / f"project-{number}").mkdir()
            (context / f"project-{number}/requirements").write_text("first\n")

    text = "FROM {base}\nCOPY requirements /\nRUN cat requirements > /made\nCOPY source /\n"
    wanted = scenarios.Scenario("a row", text, BASE, write, "source", projects=2, row=6)
    found = built(bench, wanted, 1)
    assert {name: len(rounds) for name, rounds in found.rounds.items()} == dict.fromkeys(NAMES, 6)
    for rounds in found.rounds.values():
        assert max(cost.grown for cost in rounds[2:]) < rounds[0].grown
    assert min(cost.state for cost in found.rounds["buildkit"]) > 0


def test_layers_that_the_registry_has_and_that_are_moved_nevertheless_are_counted(bench):
    def write(context: Path) -> None:
        scenarios.write_file(context)
        (context / "large").write_bytes(os.urandom(3_000_000))

    text = "FROM {base}\nCOPY large /large\nCOPY file /file\n"
    wanted = scenarios.Scenario("two layers", text, BASE, write, "file", primed=True)
    found = built(bench, wanted, 1)
    assert found.rounds["buildkit"][0].moved == 0
    assert {cost.stored > 3_000_000 for cost in every(found)} == {True}
    assert found.rounds["buildkit-fresh"][0].moved > 3_000_000  # its daemon has to fetch the layer to go on from it


def test_two_platforms_of_one_context_count_as_one_image(bench):
    base = bases.Base("both", 1)
    platforms = ("linux/amd64", "linux/arm64")
    wanted = scenarios.Scenario(
        "two platforms", "FROM {base}\nCOPY file /file\n", base, scenarios.write_file, "file", platforms=platforms
    )
    for cost in every(built(bench, wanted, 1)):
        assert 100 < cost.stored < 5000


def test_a_builder_that_tmpfs_cannot_hold_is_left_out_by_name(bench, monkeypatch):
    monkeypatch.setattr(lab.scratch, "available", lambda: lab.RESERVE + 4_000_000)
    wanted = scenarios.Scenario(
        "large", "FROM {base}\nCOPY large /\n", BASE, lambda context: _large(context / "large"), packs=1.0
    )
    found = built(bench, wanted, 1)
    assert [*found.rounds] == ["strata"]
    assert {*found.skipped} == {"buildkit", "buildkit-fresh"}
    assert "GB of memory" in found.skipped["buildkit"]


def _large(path: Path) -> None:
    path.write_bytes(os.urandom(1_500_000))
