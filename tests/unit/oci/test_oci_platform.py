"""Platforms: names, defaults, and which image suits which machine."""

from __future__ import annotations

import pytest

from strata_builder.oci import errors, platform
from strata_builder.oci.platform import Platform


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("Linux/AMD64/v1", Platform("linux", "amd64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/arm64/8", Platform("linux", "arm64")),
        ("linux/arm", Platform("linux", "arm", "v7")),
        ("linux/arm/6", Platform("linux", "arm", "v6")),
        ("linux/armel", Platform("linux", "arm", "v6")),
        ("linux/riscv64", Platform("linux", "riscv64")),
    ],
)
def test_platforms_are_normalised(text, expected):
    assert Platform.parse(text) == expected
    assert Platform.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "linux/amd64/v1/x", "lin ux/amd64", "linux/../x", "/amd64", "linux/a/" + "1" * 64]
)
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(errors.PlatformInvalid, match="platform"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "found"),
    [
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/amd64"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], "linux/amd64/v2"),
        ("linux/amd64", ["linux/amd64/v3"], None),
        ("linux/arm64", ["linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm64", ["linux/arm/v5", "linux/arm/v8", "linux/arm/v7"], "linux/arm/v8"),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64"], "linux/arm64"),
        ("linux/arm/v7", ["linux/arm64"], None),
        ("linux/arm64/v8.2", ["linux/arm64", "linux/arm64/v8.3", "linux/arm64/v8.1"], "linux/arm64/v8.1"),
        ("linux/arm64", ["linux/arm64/v8.1"], None),
        ("linux/arm64/v9", ["linux/arm64/v8.6", "linux/arm64", "linux/arm64/v8.5"], "linux/arm64/v8.5"),
        ("linux/arm64/v9.0", ["linux/arm64/v9"], "linux/arm64/v9"),
        ("linux/arm64/v99", ["linux/arm64", "linux/arm/v7"], None),
        ("linux/amd64", ["linux/386"], "linux/386"),
        ("linux/amd64/v2", ["linux/386", "linux/amd64"], "linux/amd64"),
        ("linux/386", ["linux/amd64"], None),
        ("linux/riscv64", ["linux/386", "linux/arm/v7"], None),
        ("linux/amd64", ["windows/386", "darwin/amd64"], None),
    ],
)
def test_the_best_platform_that_runs_is_chosen(wanted, offered, found):
    best = platform.best(Platform.parse(wanted), [Platform.parse(o) for o in offered])
    assert best == (Platform.parse(found) if found else None)


def test_an_image_for_a_lower_level_matches():
    assert Platform.parse("linux/arm/v6").matches(Platform.parse("linux/arm/v7"))
    assert not Platform.parse("linux/arm/v7").matches(Platform.parse("linux/arm/v6"))
