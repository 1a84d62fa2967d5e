"""The corpus gives the same digest in another folder, from a cache and without one."""

from __future__ import annotations

import os

import pytest

from differential.builds import cases, explained
from differential.builds.strata import Strata
from differential.builds.test_builds_corpus import CORPUS, NAMES

pytestmark = pytest.mark.root


def _buildable() -> list[cases.Case]:
    """Of the corpus, what Strata does not refuse."""
    refused = {name for name, row in explained.read().items() if "outcome: only BuildKit builds" in row.differences}
    texts = ((name, (CORPUS / f"{name}.txt").read_text(errors="surrogateescape")) for name in NAMES)
    read = [cases.parse(*text) for text in texts]
    return [case for case in read if case.setting("refused") is None and case.name not in refused]


BUILDABLE = _buildable()
STRIDE = 4 if "STRATA_EFFORT" in os.environ else 80


@pytest.mark.parametrize("case", BUILDABLE[::STRIDE], ids=lambda case: case.name)
def test_a_cached_image_is_the_one_that_is_made_anew(case: cases.Case, strata: Strata) -> None:
    digests = []
    for flags in ((), (), ("--no-cache",)):
        with strata.archive(case, *flags) as (_, image):
            digests.append(image.digest)
    assert digests == digests[:1] * 3
