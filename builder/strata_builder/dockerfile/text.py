"""Characters: what counts as space in a Dockerfile, and text that is safe to show."""

from __future__ import annotations

# Go's unicode.IsSpace, which decides in every other builder; str.isspace() also takes U+001C..U+001F.
SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
BLANK = "\t\v\f\r "
SPACES = frozenset(SPACE)


def decode(data: bytes) -> str:
    """Bytes of a Dockerfile as text; what is not UTF-8 survives a round trip through `encode`."""
    return data.decode("utf-8", "surrogateescape")


def encode(value: str) -> bytes:
    """The bytes that `decode` read."""
    return value.encode("utf-8", "surrogateescape")


def printable(value: str) -> str:
    """The same text with every character that could upset a terminal or a UTF-8 encoder replaced."""
    return "".join(char if char.isprintable() or char == "\n" else " " if char == "\t" else "\ufffd" for char in value)
