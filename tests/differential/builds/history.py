"""What a history entry means, whichever builder wrote it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

DECLARE = ("ARG", "ONBUILD")
"""Instructions without an effect of their own: BuildKit tells of the first, Strata of the second."""
IN_CONFIG = ("CMD", "ENTRYPOINT", "SHELL", "VOLUME", "HEALTHCHECK", "EXPOSE", "STOPSIGNAL")
"""Instructions whose words the config has as they are; each builder prints them in a form of its own."""
EXPORTER = "buildkit.exporter.image.v0"
_FLAGS = re.compile(r" --(from|link|parents|exclude|checksum|unpack|keep-git-dir)(=\S*)?(?= )")


def meaning(created_by: str) -> str:
    """The words that both builders agree on: of an instruction that the config shows, only its name."""
    text = created_by.removesuffix(" # buildkit")
    keyword, _, rest = text.partition(" ")
    if keyword in IN_CONFIG:
        return keyword
    if keyword == "FROM":
        return keyword
    if keyword in ("COPY", "ADD"):
        return _FLAGS.sub("", text)
    if keyword == "WORKDIR":
        return f"WORKDIR {rest.rstrip('/') or '/'}"
    return text


def in_order(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries in the order of what they tell of.

    For a layer that no instruction told of, such as a folder as a base, BuildKit's exporter adds an entry at the end, in the
    words of the last layer; those layers are the lowest.
    """
    added = [item for item in items if item.get("comment") == EXPORTER]
    return [{**item, "created_by": "FROM"} for item in added] + [item for item in items if item not in added]


def declares(text: str) -> bool:
    """Whether it is of an instruction that some builders do not tell of."""
    return text.partition(" ")[0].upper() in DECLARE
