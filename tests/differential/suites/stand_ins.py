"""What stands in for the images that the suites build on, and which cases cannot be built without the Internet. Pure.

The images of docker.io and the like are not here; each is replaced, for both builders, by one that plays its part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SMALL, LARGE = "small", "large"
"""busybox, and a Debian with bash, apt and the usual accounts."""

IMAGES: Mapping[str, str] = {
    "alpine": SMALL,
    "busybox": SMALL,
    "centos": LARGE,
    "debian": LARGE,
    "docker.io/library/alpine": SMALL,
    "docker.io/library/busybox": SMALL,
    "fedora": LARGE,
    "library/debian": LARGE,
    "mirror.gcr.io/alpine": SMALL,
    "mirror.gcr.io/busybox": SMALL,
    "quay.io/libpod/centos": LARGE,
    "quay.io/libpod/ubuntu": LARGE,
    "registry.access.redhat.com/ubi7/ubi": LARGE,
    "registry.access.redhat.com/ubi8/ubi": LARGE,
    "ubuntu": LARGE,
}
"""Repository to what stands in for it, whatever the tag."""

ASSEMBLED = ("alpine:3.9", "alpine:latest", "busybox:1.31", "busybox:latest", "busybox:stable-musl")
"""Images that are always there: a Dockerfile may make their names of variables, or a test of its own settings."""

UPSTREAMS = ("docker.io", "gcr.io", "mirror.gcr.io", "quay.io", "registry.access.redhat.com")
"""Registries for which the tests' own answers."""

ELSEWHERE = {
    "a server of the test's own": re.compile(
        r"https?://(127\.0\.0\.1|localhost)[:/]|^\s*ADD\s[^\n]*git://", re.MULTILINE
    ),
    "downloads from the Internet": re.compile(
        r"""^\s*ADD\s[^\n]*\b(https?://(?!files/)|git@)|\b(apk|apt-get|apt|yum|dnf|microdnf|zypper)\s+(-\S+\s+)*"""
        r"""(add|install|update|upgrade|-Sy)|\b(wget|curl)\s[^\n]*https?://|\bgit\s+clone\b|\b(go|pip3?|npm)\s+(get|install)\b""",
        re.MULTILINE | re.IGNORECASE,
    ),
}
_REFERENCE = re.compile(
    r"(?<![\w./@:-])(?P<name>" + "|".join(re.escape(name) for name in sorted(IMAGES, key=len, reverse=True)) + r")"
    r"(?![\w./-])(?::(?P<tag>\w[\w.-]*))?(?P<digest>@sha256:[0-9a-f]{64})?"
)
_SYNTAX = re.compile(rb"\A((?:#[^\n]*\n)*?)#[ \t]*syntax[ \t]*=[^\n]*\n?", re.IGNORECASE)


def dockerfile(text: bytes) -> bytes:
    """A Dockerfile as both are to build it: no other frontend, and images by tag, since a stand-in has another digest."""
    text = _SYNTAX.sub(rb"\1", text)
    return _REFERENCE.sub(_by_tag, text.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def _by_tag(match: re.Match[str]) -> str:
    return f"{match['name']}:{match['tag']}" if match["tag"] else match["name"]


def images(texts: Iterable[str]) -> set[tuple[str, str]]:
    """(repository, tag) of all images that the texts name and that have a stand-in."""
    whole = "\n".join([*texts, *ASSEMBLED])
    return {(match["name"], match["tag"] or "latest") for match in _REFERENCE.finditer(whole)}


def reason(text: str) -> str:
    """Why a Dockerfile cannot be built here; empty where it can."""
    return next((why for why, pattern in ELSEWHERE.items() if pattern.search(text)), "")
