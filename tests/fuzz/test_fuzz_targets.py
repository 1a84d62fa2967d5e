"""Whatever strangers send: a value or an error of our own type, soon, and in little memory. STRATA_SEED repeats a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fuzz import campaign, target, targets

Tell = Callable[[str, int], None]


@pytest.mark.parametrize("tried", targets.ALL, ids=str)
def test_any_input_is_a_value_or_an_error_of_our_own(tried: target.Target, seed: int, effort: int, tell: Tell) -> None:
    count = tried.runs * effort
    faults = campaign.run(tried, seed, count)
    tell(tried.name, count)
    if faults:
        pytest.fail(f"STRATA_SEED={seed}\n" + "\n".join(map(str, faults)), pytrace=False)
