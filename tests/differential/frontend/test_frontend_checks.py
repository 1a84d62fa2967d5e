"""`strata check` warns of what BuildKit's checks warn of."""

from __future__ import annotations

import pytest

from support import dockerfile_check_table, dockerfile_checks, dockerfile_grammar
from support.dockerfile_reference import Reference

CASES = dockerfile_check_table.cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_row_of_the_table_is_what_buildkit_warns_of(reference: Reference, case: dockerfile_check_table.Case) -> None:
    found, error = dockerfile_checks.theirs(reference, case.source, ignore=case.ignore)
    assert error == "" or (b"error=true" in case.source and error.startswith("lint violation found"))
    expected, _ = dockerfile_checks.ours(case.source, ignore=case.ignore)
    assert dockerfile_checks.without_suggestions(found) == dockerfile_checks.without_suggestions(expected)


def test_random_dockerfiles_get_the_same_warnings(reference: Reference, seed: int, effort: int) -> None:
    grammar = dockerfile_grammar.Grammar(seed + 2, odd=0.03)
    compared, warnings = 0, 0
    for _ in range(300 * effort):
        source = grammar.dockerfile().encode()
        if b"onbuild" in source.lower() and source.lower().count(b"from ") > 1:
            continue  # BuildKit fires triggers only in stages that the last one needs, and so checks them only there
        theirs, their_error = dockerfile_checks.theirs(reference, source)
        ours, our_error = dockerfile_checks.ours(source)
        if their_error or our_error:
            continue  # an error ends the checks on either side; which files are wrong is compared elsewhere
        compared, warnings = compared + 1, warnings + len(theirs)
        told = (f"STRATA_SEED={seed}", source)
        assert dockerfile_checks.without_suggestions(ours) == dockerfile_checks.without_suggestions(theirs), told
    print(f"{compared} random Dockerfiles got the same {warnings} warnings, STRATA_SEED={seed}")
    assert compared > 100 * effort
