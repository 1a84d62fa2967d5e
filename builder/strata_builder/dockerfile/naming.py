"""How files that belong to a Dockerfile are called. Pure."""

from __future__ import annotations

import posixpath

DEFAULT = "Dockerfile"


def candidates(wanted: str) -> tuple[str, ...]:
    """The names under which a Dockerfile is looked for, the first that is there counts; none given is `Dockerfile`.

    As in BuildKit, one of the usual name may be written in lower case on disk, whether that name was given or not.
    """
    name = wanted or DEFAULT
    folder, last = posixpath.split(name)
    return (name, posixpath.join(folder, last.lower())) if last == DEFAULT else (name,)


def ignore_file(wanted: str) -> str:
    """The name of the ignore file beside a Dockerfile, by the name that was asked for: also of one in lower case it has
    the capital, as in BuildKit."""
    return f"{wanted or DEFAULT}.dockerignore"
