"""Each difference that the table excuses is there: a row whose example no longer differs has to go."""

from __future__ import annotations

import pytest

from support import dockerfile_compare, dockerfile_images, dockerfile_known, dockerfile_reference


@pytest.mark.parametrize("known", dockerfile_known.KNOWN, ids=lambda known: known.name)
def test_a_known_difference_differs_as_its_row_says(
    reference: dockerfile_reference.Reference, known: dockerfile_known.Known
) -> None:
    source = known.example.encode()
    images = dockerfile_images.ALL
    found = dockerfile_compare.parsed(reference, source, {}) or dockerfile_compare.built(reference, source, images)
    assert found
    assert all(known.excuses(each, source) for each in found), found
