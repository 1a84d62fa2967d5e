"""Strata and buildah, the second oracle, make the same files and config of a sample, save for what buildah.toml says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.builds import cases, explained, folders, second
from differential.builds.strata import Strata
from differential.builds.test_builds_corpus import CORPUS

pytestmark = pytest.mark.root

TABLE = Path(__file__).parents[1] / "buildah.toml"
SAMPLE = (
    *("add/archive-duplicates", "add/archive-over-existing", "add/files-and-folders", "add/archives-by-content"),
    *("bases/gzip", "bases/layers-of-other-builders", "bases/configured"),
    *("config/all-instructions", "config/arg-and-env", "config/arg-scopes", "config/cmd-forms", "config/labels"),
    *("config/entrypoint-over-stages", "config/env-forms", "config/shell", "config/user-forms", "config/volumes"),
    *("config/workdir", "config/workdir-through-link"),
    *("copy/chmod", "copy/chmod-and-chown", "copy/file-into-file", "copy/odd-names"),
    *("mounts/bind", "mounts/cache", "mounts/secret"),
    *("run/hard-links", "run/links", "run/modes-of-lower-files", "run/removed-and-made-again", "run/renames"),
    *("run/set-user-id", "run/special-files", "run/sticky-and-users", "run/whiteouts"),
    *("stages/chain", "stages/copy-between", "stages/copy-hard-links", "stages/copy-keeps-special-bits"),
    "stages/copy-through-links",
)
"""Of what buildah 1.28, which Debian has, understands."""
TAKEN = SAMPLE if "STRATA_EFFORT" in os.environ else ("run/whiteouts",)


@pytest.fixture(scope="module")
def buildah(strata: Strata) -> Iterator[second.Buildah]:
    with second.Buildah(strata.site.registry) as running:
        yield running


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Counts the verdicts, and tells them at the end of a run."""
    counted: Counter[str] = Counter()
    yield counted
    told = ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
    print(f"\nbuildah: of {len(TAKEN)} cases {told}")


@pytest.mark.parametrize("name", TAKEN)
def test_buildah_makes_the_same_or_the_difference_is_explained(
    name: str, strata: Strata, buildah: second.Buildah, tally: Counter[str]
) -> None:
    case = cases.parse(name, (CORPUS / f"{name}.txt").read_text(errors="surrogateescape"))
    with strata.site.written(case) as (work, made):
        mine = strata.build(made, work / "strata.tar", folders.flags(case, made)[0])
        theirs = buildah.build(case, made, work / "buildah.tar")
    explanation = explained.read(TABLE).get(name)
    wrong = explained.verdict(second.differences(mine, theirs), explanation)
    tally["unexplained" if wrong else "explained" if explanation else "the same"] += 1
    if wrong:
        pytest.fail(f"{name}\n{wrong}\n--- buildah said\n{theirs.said[-1500:]}", pytrace=False)


def test_the_table_explains_cases_of_the_sample() -> None:
    assert sorted(explained.read(TABLE).keys() - set(SAMPLE)) == []
