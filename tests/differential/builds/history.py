"""What a history entry means, whichever builder wrote it. Pure."""

from __future__ import annotations

import re

DECLARE = ("ARG", "ONBUILD")
"""Instructions without an effect of their own: BuildKit tells of the first, Strata of the second."""
IN_CONFIG = ("CMD", "ENTRYPOINT", "SHELL", "VOLUME", "HEALTHCHECK", "EXPOSE", "STOPSIGNAL")
"""Instructions whose words the config has as they are; each builder prints them in a form of its own."""
_FLAGS = re.compile(r" --(from|link|parents|exclude|checksum|unpack|keep-git-dir)(=\S*)?(?= )")


def meaning(created_by: str) -> str:
    """The words that both builders agree on: of an instruction that the config shows, only its name."""
    text = created_by.removesuffix(" # buildkit")
    keyword, _, rest = text.partition(" ")
    if keyword in IN_CONFIG:
        return keyword
    if keyword in ("COPY", "ADD"):
        return _FLAGS.sub("", text)
    if keyword == "WORKDIR":
        return f"WORKDIR {rest.rstrip('/') or '/'}"
    return text


def declares(text: str) -> bool:
    """Whether it is of an instruction that some builders do not tell of."""
    return text.partition(" ")[0].upper() in DECLARE
