"""Base images of every kind, beside BuildKit: what COPY onto them, COPY from them and steps in them give is alike, save for
what bases.toml says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.builds import bases, bench, cases, explained, images
from support import base_images
from support.base_rows import ROWS

pytestmark = pytest.mark.root

TABLE = Path(__file__).parents[1] / "bases.toml"
TAKEN = tuple(ROWS) if "STRATA_EFFORT" in os.environ else ("an opaque directory, its mark last",)
CASE = """\
-- Dockerfile --
FROM {base} AS as-it-is
FROM as-it-is
COPY f /b/put
COPY --from=as-it-is /b /copied
RUN find /b ! -type d -exec touch -h -d @1300000000 {{}} +
RUN find /b -type d -exec chown 7:8 {{}} +
-- f --
f
"""


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> base_images.Layer:
    return base_images.busybox_layer(tmp_path_factory.mktemp("busybox") / "layout")


@pytest.fixture(scope="module")
def table() -> dict[str, explained.Explanation]:
    return explained.read(TABLE)


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """Counts the verdicts, and tells them at the end of a run."""
    counted: Counter[str] = Counter()
    yield counted
    told = ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
    print(f"\nbases: of {len(TAKEN)} kinds {told}")


@pytest.mark.parametrize("name", TAKEN)
def test_a_base_of_this_kind_is_built_on_alike_or_the_difference_is_explained(
    name: str,
    builders: bench.Bench,
    busybox: base_images.Layer,
    table: dict[str, explained.Explanation],
    tally: Counter[str],
) -> None:
    base, layers = f"row-{list(ROWS).index(name)}", [busybox, *ROWS[name].layers]
    bases.push(builders.strata.site.registry, base, layers)
    # What is wrong within a layer of the base is not ours.
    builders.strata.known |= {layer.diff_id: images.parse(layer.content, []) for layer in layers}
    found = builders.compare(cases.parse(f"bases/{base}", CASE.format(base=base)))
    explanation = table.get(name)
    wrong = explained.verdict(found, explanation)
    tally["unexplained" if wrong else "explained" if explanation else "alike"] += 1
    if wrong:
        pytest.fail(f"{name}\n{wrong}\n{builders.said}", pytrace=False)


def test_the_table_explains_kinds_that_exist(table: dict[str, explained.Explanation]) -> None:
    assert sorted(table.keys() - ROWS.keys()) == []
