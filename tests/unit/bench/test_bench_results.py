"""What the benchmark makes of its figures."""

from __future__ import annotations

import re

import pytest

from bench import absolute, costs, document, growth, report, results, rows, targets, traffic

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def cost(wall: float = 1.0, **more: float) -> costs.Cost:
    given = {"cpu": 1.0, "memory": 50_000_000, "up": 0, "down": 0, "requests": 5, "registry_cpu": 0.0, **more}
    return costs.Cost(wall, **given)  # type: ignore[arg-type]


def measured(entries: int = 10, **rounds: list[costs.Cost]) -> results.Measured:
    return results.Measured({name.replace("_", "-"): found for name, found in rounds.items()}, entries)


def test_a_run_goes_on_where_another_one_ended(tmp_path):
    file = tmp_path / "results.json"
    first = results.Results(scenarios={"c": measured(strata=[cost(), cost()], buildkit=[cost()])})
    first.growth = {"a": {50: measured(strata=[cost()])}}
    first.write(file)
    again = results.read(file)
    assert again == first
    assert again.of("c").missing(["strata", "buildkit", "buildah"], 3) == {"strata": 1, "buildkit": 2, "buildah": 3}
    assert again.of("a", 50).missing(["strata"], 1) == {"strata": 0}


def test_runs_apart_are_put_together(tmp_path):
    for name, part, key in (("1", "monday", "c"), ("2", "tuesday", "c"), ("3", "tuesday", "d")):
        made = results.Results("machine", [part], {key: measured(strata=[cost(float(name))])})
        made.write(tmp_path / name)
    found = results.merged(tmp_path / name for name in "123")
    assert found.parts == ["monday", "tuesday"]
    assert [one.wall for one in found.scenarios["c"].rounds["strata"]] == [1, 2]
    assert [one.wall for one in found.scenarios["d"].rounds["strata"]] == [3]


def test_a_row_that_was_measured_again_takes_the_place_of_the_first(tmp_path):
    for name in "12":
        results.Results(scenarios={"l": measured(strata=[cost(float(name))])}).write(tmp_path / name)
    found = results.merged(tmp_path / name for name in "12")
    assert [one.wall for one in found.scenarios["l"].rounds["strata"]] == [2]


def test_what_another_run_could_build_is_no_longer_left_out():
    found = results.Measured({}, 0, {"buildkit": "needs 26 GB"})
    found.add(measured(buildkit=[cost()]))
    assert found.skipped == {}


@pytest.mark.parametrize(
    ("ours", "theirs", "counts"),
    [(115_000_000, 100_000_000, True), (116_000_000, 100_000_000, False), (900, 300, True), (0, 0, True)],
)
def test_a_result_counts_only_with_layers_that_are_about_as_small(ours, theirs, counts):
    made = {"d": measured(strata=[cost(0.1, stored=ours)], buildkit=[cost(1, stored=theirs)])}
    verdict = next(targets.verdicts(made))
    assert (verdict.counts, verdict.met) == (counts, counts)
    assert ("too large to count" in report.table(made)) != counts


@pytest.mark.parametrize(("wall", "text"), [(0.5, "met: 0.50 of the limit"), (2.0, "**missed**: 2.00 × the limit")])
def test_a_target_says_by_how_much_it_is_met_or_missed(wall, text):
    made = {"d": measured(strata=[cost(wall)] * 3, buildkit=[cost(1.0)] * 3)}
    assert [verdict.text for verdict in targets.verdicts(made)] == [text]
    assert text in targets.table(made)


def test_the_best_of_several_peers_sets_the_limit():
    made = {"h1": measured(strata=[cost(1)], buildkit=[cost(6)], buildah=[cost(3)])}
    verdict = next(targets.verdicts(made))
    assert (verdict.peer, verdict.limit) == ("buildah", 1.0)


def test_zstd_is_compared_with_zstd():
    made = {"a": measured(strata=[cost(2)], strata_zstd=[cost(1)], buildkit=[cost(4)], buildkit_zstd=[cost(4)])}
    lines = {line.split("|")[2].strip(): line.split("|")[3].strip() for line in report.table(made).splitlines()[2:]}
    assert lines == {"strata": "1.00", "strata-zstd": "1.00", "buildkit": "2.00", "buildkit-zstd": "4.00"}


@pytest.mark.parametrize(
    ("key", "found", "what"),
    [
        ("h2", cost(moved=1), "h2: bytes of the base"),
        ("d", cost(requests=8), "d: requests"),
        ("b", cost(memory=100_004_001), "b: peak memory"),
        ("h1", cost(disk=20_000_001), "h1: disk"),
    ],
)
def test_the_worst_round_decides_what_must_hold(key, found, what):
    good = cost(moved=0, requests=7, memory=100_004_000, disk=20_000_000)
    made = results.Results(scenarios={key: measured(10, strata=[good, good])})
    assert all(check.holds for check in absolute.checks(made))
    made.scenarios[key].rounds["strata"].append(found)
    missed = [check.what for check in absolute.checks(made) if not check.holds]
    assert len(missed) == 1
    assert missed[0].startswith(what)
    assert "**missed**" in absolute.table(made)


def test_start_and_images_are_held_to_their_limits():
    made = results.Results(start={"strata build": [0.09, 0.2, 0.08], "python alone": [9.0]})
    made.images = {"builder": 60_000_001, "operator": 90_000_000}
    assert [check.holds for check in absolute.checks(made)] == [True, False, True]


def test_a_line_is_found_and_how_far_its_points_are_off():
    line = growth.fit([(0, 1.0), (10, 2.0), (20, 3.0)])
    assert (round(line.start, 6), round(line.slope, 6), line.straight) == (1, 0.1, True)
    assert not growth.fit([(0, 0.0), (10, 1.0), (20, 4.0), (30, 9.0)]).straight
    assert growth.fit([(5, 2.0), (5, 2.0)]).slope == 0


def test_growth_is_told_for_each_builder_and_size():
    sizes = {size: measured(strata=[cost(size / 100)], buildkit=[cost(size / 10)]) for size in (50, 100)}
    found = growth.table({"a": sizes})
    assert "| **a** | 50 to 100 MB | strata | 0.00 + 10 | 0 % |" in found


def test_what_is_not_straight_is_named():
    bent = {size: measured(strata=[cost(size**2)], buildkit=[cost(size)]) for size in (10, 50, 100)}
    assert growth.bends({"a": bent}) == "- **a** strata, wall: 13 %\n"
    assert growth.bends({}) == "- none\n"


def test_what_a_row_keeps_is_summed_up():
    found = [cost(grown=1_000_000, state=2_000_000), cost(grown=500_000, state=3_000_000)]
    assert rows.kept(found) == [3.0, 4.5]
    assert "| strata | 2.0 | 1.00 | 1.00 | 2.0 |" in rows.table(results.Measured({"strata": found}))


def said(request: str, status: int, size: int) -> str:
    return f'127.0.0.1 - - [29/Nov/2026:09:00:00 +0000] "{request} HTTP/1.1" {status} {size} "" "client"'


def test_blobs_are_counted_where_they_are_moved():
    found = traffic.seen(
        [
            said(f"GET /v2/a/b/blobs/{DIGEST}", 200, 1000),
            said(f"HEAD /v2/a/b/blobs/{DIGEST}", 200, 0),
            said(f"PUT /v2/a/blobs/uploads/u?_state=x&digest={OTHER.replace(':', '%3A')}", 201, 0),
            said(f"POST /v2/a/blobs/uploads/?mount={OTHER}&from=b", 201, 0),
            'time="2026-11-29" level=info msg="response completed"',
        ]
    )
    assert found.requests == 4
    assert found.moved({DIGEST: 1000}) == 1000
    assert found.moved({OTHER: 70}) == 70
    assert found.moved({"sha256:c": 5}) == 0


def test_the_page_says_all_that_its_template_asks_for():
    made = results.Results("a machine", ["today"], {"c": measured(strata=[cost()], buildkit=[cost()])})
    made.start = {"strata build": [0.09], "strata build, CPU": [0.08]}
    page = document.text(made)
    assert "@" not in page.replace("sha256@", "")
    assert "a machine. Measured: today." in page
    assert "| strata build | 90 | 80 |" in page


def test_the_page_names_what_was_not_measured_and_shows_no_plot_of_it():
    made = results.Results("a machine", ["today"], {"c": measured(strata=[cost()], buildkit=[cost()])})
    page = document.text(made)
    assert re.search(r"^Not measured: a \(.*; l \(.*growth\.$", page, re.MULTILINE)
    assert "growth-wall.png" not in page
    assert "row.png" not in page
    made.growth = {"c": {1: measured(strata=[cost()])}}
    assert "growth-wall.png" in document.text(made)
