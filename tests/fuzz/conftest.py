"""Seed and effort of the run, and how many inputs each target had, told at its end."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from support.effort import effort, seed

__all__ = ["effort", "seed"]

_PROPERTY = "inputs that were tried"
_GUIDED = "test_fuzz_guided.py"
# What is guided by coverage takes minutes, and a package that nothing else needs.
collect_ignore = [] if "STRATA_EFFORT" in os.environ else [_GUIDED]


@pytest.fixture
def tell(request: pytest.FixtureRequest, seed: int) -> Callable[[str, int], None]:
    """Has a target's number of executions shown after the tests; it travels with the report, also from a worker."""

    def told(name: str, count: int) -> None:
        request.node.user_properties.append((_PROPERTY, (f"{name}, STRATA_SEED={seed}", count)))

    return told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, ())]
    found = [value for one in reports for name, value in getattr(one, "user_properties", ()) if name == _PROPERTY]
    if found:
        terminalreporter.section(_PROPERTY)
    for name, count in found:
        terminalreporter.write_line(f"{count:>9,} {name}")
    if found:
        terminalreporter.write_line(f"{sum(count for _, count in found):>9,} in all")
