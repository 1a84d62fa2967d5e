"""The cases of other builders' test suites are built as BuildKit builds them, save for what explained.toml says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from differential.builds import bench
from differential.builds.site import Site
from differential.builds.strata import Strata
from differential.suites import bases, recorded, recording, running, stand_ins

pytestmark = pytest.mark.root

SAMPLED = tuple((Path(__file__).parent / "sample.txt").read_text(encoding="utf-8").splitlines())
"""The cases of `make test`."""
CHOSEN = os.environ.get("STRATA_CASES", "")
"""A pattern of SUITE/CASE: only these are built."""
SUITES: dict[str, Callable[[bench.Bench], Path]] = {
    "buildah": lambda _: recording.buildah(),
    "kaniko": lambda _: recording.kaniko(),
    "buildkit": lambda builders: recording.buildkit(builders.address),
    "moby": lambda _: recording.moby(),
}


@pytest.fixture(scope="module")
def builders(tmp_path_factory: pytest.TempPathFactory, registry: Path, buildkit: None) -> Iterator[bench.Bench]:
    """Both builders, with a registry that has the images that BuildKit's tests begin with."""
    with Site(tmp_path_factory.mktemp("suites"), registry.parent, stand_ins.UPSTREAMS) as site:
        bases.push(site.registry, registry, stand_ins.images([]))
        with bench.Bench(Strata(site)) as both:
            yield both


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_is_built_as_buildkit_builds_it(
    suite: str, builders: bench.Bench, registry: Path, everything: bool
) -> None:
    if not everything and not recording.is_kept(suite):
        pytest.skip(f"the cases of {suite} are not recorded yet: `make test-differential` does it")
    cases = [case for case in recorded.read(SUITES[suite](builders)) if _wanted(f"{suite}/{case.name}", everything)]
    bases.push(builders.strata.site.registry, registry, running.images(cases))
    table, excused = running.tables()
    tally = running.Runner(builders, table, excused).run(suite, cases)
    print(f"\n{tally}")
    assert not tally.faults, "\n\n".join([*tally.faults, str(tally)])
    assert (
        sorted(_of(suite, [*table, *excused]) - {f"{suite}/{case.name}" for case in cases}) == []
        or not everything
        or CHOSEN
    )


def test_the_sample_is_of_cases_that_exist() -> None:
    """Of those suites that were recorded."""
    for suite in filter(recording.is_kept, SUITES):
        names = {f"{suite}/{case.name}" for case in recorded.read(recording.place(suite))}
        assert sorted(_of(suite, SAMPLED) - names) == []


def _wanted(name: str, everything: bool) -> bool:
    return re.search(CHOSEN, name) is not None if CHOSEN else everything or name in SAMPLED


def _of(suite: str, names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith(f"{suite}/")}
