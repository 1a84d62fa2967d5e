"""Platforms: `os/architecture[/variant]`, with the names and defaults of Go's GOOS and GOARCH (image-spec,
image-index.md). Pure."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from strata_builder.frozen import frozen
from strata_builder.oci import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
_OSES: Final = {"macos": "darwin"}
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@frozen
class Platform:
    """Normalised: aliases resolved, lower case, `variant` empty where it is the architecture's own (`arm64/v8`,
    `amd64/v1`)."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """`linux/arm/v7`, `linux/x86_64`. Raises PlatformInvalid."""
        parts = text.split("/")
        if len(parts) in (2, 3) and _are_parts(parts):
            found = normalise(*parts)
            if _are_parts([found.variant or "none"]):  # a number has got its v
                return found
        raise errors.PlatformInvalid(
            f"{text[:100]!r} is not a platform",
            hint="write os/architecture[/variant], for example linux/amd64 or linux/arm/v7",
        )

    def matches(self, wanted: Platform) -> bool:
        """True if an image for this platform runs on `wanted`."""
        return self in wanted.acceptable()

    def acceptable(self) -> tuple[Platform, ...]:
        """Platforms whose images run here, best first: an ARMv7 runs v6, an x86-64-v3 runs v2 and 386, an ARMv8 of 64 bits
        those of 32.

        The same, in the same order, as what containerd's platforms.Only takes of an index.
        """
        others = (normalise(self.os, *other) for other in _others(self.architecture, self.variant))
        return tuple(dict.fromkeys((self, *others)))

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def _are_parts(texts: Iterable[str]) -> bool:
    return all(map(_PART.fullmatch, texts))


def _others(architecture: str, variant: str) -> Iterator[tuple[str, str]]:
    match architecture:
        case "amd64":
            yield from (("amd64", f"v{level}") for level in range(_level(variant) - 1, 0, -1))
            yield "386", ""
        case "arm":
            yield from (("arm", f"v{level}") for level in range(_level(variant) - 1, 4, -1))
        case "arm64":
            older = [*_older(variant.removeprefix("v") or "8")]
            yield from (("arm64", f"v{version}") for version in older)
            yield from (("arm", f"v{level}") for level in range(8, 4, -1) if older)


def _level(variant: str) -> int:
    return int(variant[1:]) if re.fullmatch(r"v[1-9]", variant) else 0


def _older(version: str) -> Iterator[str]:
    """The versions of the 64-bit Arm architecture that `version` includes, the newest first: 9.x has all of 8.(x+5)."""
    match = re.fullmatch(r"([89])(?:\.([0-9]))?", version)
    if match is None:
        return
    major, minor = int(match[1]), int(match[2] or 0)
    steps = [(major, below) for below in range(minor, -1, -1)]
    steps += [(8, below) for below in range(min(minor + 5, 9), -1, -1)] if major == 9 else []
    yield from (f"{number}.{below}" if below else str(number) for number, below in steps)


def normalise(system: str, architecture: str, variant: str = "") -> Platform:
    system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    if re.fullmatch(r"[0-9]+", variant):
        variant = f"v{variant}"
    if architecture == "arm" and not variant:
        variant = "v7"
    if architecture == "arm64":
        variant = {"v8": "", "v8.0": "", "v9.0": "v9"}.get(variant, variant)
    if (architecture, variant) == ("amd64", "v1"):
        variant = ""
    return Platform(_OSES.get(system, system), architecture, variant)


def host() -> Platform:
    """The platform of this machine; the system is always linux, the only one whose images can be built."""
    return normalise("linux", os.uname().machine)


def best(wanted: Platform, offered: Iterable[Platform]) -> Platform | None:
    """Of `offered`, the one that suits `wanted` best, or None."""
    there = set(offered)
    return next((candidate for candidate in wanted.acceptable() if candidate in there), None)
