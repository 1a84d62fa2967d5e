"""The host's apt sources for Debian, so that images on a host behind a mirror use it too.

Other archives of the host are left out.
"""

from collections.abc import Iterable
from pathlib import Path

DEFAULTS = (
    "deb http://deb.debian.org/debian {suite} main",
    "deb http://deb.debian.org/debian {suite}-updates main",
    "deb http://deb.debian.org/debian-security {suite}-security main",
)


def of_host(suite: str, folder: Path = Path("/etc/apt")) -> list[str]:
    """The host's sources of that Debian release, one line each; the Debian project's if it has none."""
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    found = [
        line
        for file in files
        if file.is_file()
        for line in read(file.suffix, file.read_text())
        if line.split()[2] in releases(suite)
    ]
    return found or [line.format(suite=suite) for line in DEFAULTS]


def releases(suite: str) -> set[str]:
    """The suites of one release that images use."""
    return {suite, f"{suite}-updates", f"{suite}-security"}


def read(suffix: str, text: str) -> list[str]:
    """The `deb URI SUITE COMPONENT...` lines of a file; its suffix says the style: .sources is deb822."""
    if suffix == ".sources":
        return [line for stanza in text.split("\n\n") for line in from_deb822(fields(stanza))]
    return [
        " ".join(without_options(line.split()))
        for line in text.splitlines()
        if line.startswith("deb ") and len(line.split()) > 3
    ]


def without_options(words: list[str]) -> Iterable[str]:
    """A one-line source without its [options]: they name keys by paths that images do not have."""
    inside = False
    for word in words:
        inside = inside or word.startswith("[")
        if not inside:
            yield word
        inside = inside and not word.endswith("]")


def fields(stanza: str) -> dict[str, str]:
    """The fields of a deb822 stanza, names in lower case, comments and continuation lines handled."""
    found: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            found[name] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            found[name] = value.strip()
    return found


def from_deb822(stanza: dict[str, str]) -> list[str]:
    """The lines that a stanza stands for; none if it is disabled or lists only source packages."""
    if stanza.get("enabled", "yes").lower() == "no" or "deb" not in stanza.get("types", "").split():
        return []
    components = stanza.get("components", "")
    return [
        f"deb {uri} {suite} {components}"
        for uri in stanza.get("uris", "").split()
        for suite in stanza.get("suites", "").split()
    ]
