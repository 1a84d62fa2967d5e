"""Platforms: `os/architecture[/variant]`, with the names and defaults of Go's GOOS and GOARCH (image-spec,
image-index.md). Pure."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strata_builder.oci import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

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


@dataclass(frozen=True, slots=True, order=True)
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
        if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
            raise errors.PlatformInvalid(
                f"{text[:100]!r} is not a platform",
                hint="write os/architecture[/variant], for example linux/amd64 or linux/arm/v7",
            )
        return normalise(*parts)

    def matches(self, wanted: Platform) -> bool:
        """True if an image for this platform runs on `wanted`."""
        return self in wanted.acceptable()

    def acceptable(self) -> tuple[Platform, ...]:
        """Platforms whose images run here, best first: an ARMv7 runs v6, an x86-64-v3 runs v2."""
        if self.architecture not in ("arm", "amd64") or not re.fullmatch(r"v[1-9]", self.variant):
            return (self,)
        lowest = 5 if self.architecture == "arm" else 1
        levels = range(int(self.variant[1:]), lowest - 1, -1)
        return tuple(normalise(self.os, self.architecture, f"v{level}") for level in levels) or (self,)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normalise(system: str, architecture: str, variant: str = "") -> Platform:
    system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    if re.fullmatch(r"[0-9]+", variant):
        variant = f"v{variant}"
    if architecture == "arm" and not variant:
        variant = "v7"
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    return Platform(_OSES.get(system, system), architecture, variant)


def host() -> Platform:
    """The platform of this machine; the system is always linux, the only one whose images can be built."""
    return normalise("linux", os.uname().machine)


def best(wanted: Platform, offered: Iterable[Platform]) -> Platform | None:
    """Of `offered`, the one that suits `wanted` best, or None."""
    there = set(offered)
    return next((candidate for candidate in wanted.acceptable() if candidate in there), None)
