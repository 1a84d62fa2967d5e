"""Which versions of git can be kept from fetching by themselves."""

from __future__ import annotations

import pytest

from strata_builder.context import gitversion


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.39.5", True),
        ("2.39.4", True),
        ("2.39.3 (Apple Git-146)", False),
        ("2.39", False),
        ("2.44.0", False),
        ("2.44.1", True),
        ("2.45.0", True),
        ("2.45.GIT", True),
        ("2.52.0.windows.1", True),
        ("2.30.2", False),
        ("1.8.3.1", False),
        ("3.0.0", True),
    ],
)
def test_versions(version: str, expected: bool) -> None:
    assert gitversion.can_refrain(f"git version {version}\n") is expected


def test_a_program_that_says_something_else_is_not_trusted_to() -> None:
    assert gitversion.can_refrain("fossil 2.50") is False
