"""A logical line -> keyword, flags, rest; the rest -> words, name=value pairs, or the strings of a JSON array.

Quotes and escapes stay in the words (expansion.py removes them when it expands); only flags lose theirs here.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from strata_builder.dockerfile import text
from strata_builder.dockerfile.faults import Fault

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_REDIRECT = re.compile(r"<<[\t\r ]*")
_HEREDOC = re.compile(r"[0-9]*<<(-?)\s*([^<]+)", re.DOTALL | re.ASCII)
_HIGH_SURROGATES = "[\ud800-\udc7f\udd00-\udfff]"  # compiled where there may be one: it takes a moment


def split_command(line: str) -> tuple[str, tuple[str, ...], str]:
    """(keyword as written, flags as `--name=value` words without their quotes, the trimmed rest)."""
    parts = _BLANKS.split(line.strip(text.SPACE), maxsplit=1)
    if len(parts) == 1:
        return parts[0], (), ""
    flags, rest = _flags(parts[1])
    return parts[0], flags, rest.strip(text.SPACE)


def _flags(line: str) -> tuple[tuple[str, ...], str]:
    flags: list[str] = []
    position = 0
    while True:
        while position < len(line) and line[position] in text.SPACES:
            position += 1
        if not line.startswith("--", position):
            return tuple(flags), line[position:]
        word, position = _flag(line, position)
        if word == "--":
            return tuple(flags), line[position:]
        flags.append(word)


def _flag(line: str, position: int) -> tuple[str, int]:
    """One flag from `position` on, quotes removed, and where it ends."""
    word: list[str] = []
    quote = ""
    while position < len(line):
        char = line[position]
        if not quote and char in text.SPACES:
            break
        if char == "\\":
            position += 1
            word.append(line[position : position + 1])
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            word.append(char)
        position += 1
    return "".join(word), position


def first_word(rest: str) -> tuple[str, str]:
    """The text up to the first blank, and what follows the blanks."""
    first, *others = _BLANKS.split(rest, maxsplit=1)
    return first, others[0] if others else ""


def blank_separated(rest: str) -> list[str]:
    """Words between blanks; quotes mean nothing here."""
    return _BLANKS.split(rest) if rest else []


def quoted_words(rest: str, escape: str) -> list[str]:
    """Words between spaces that are neither quoted nor escaped; quotes and escapes stay in them."""
    return _scanned(rest, escape, redirects=False)[0]


def shell_words(line: str) -> list[str]:
    """The same as a shell sees them: << EOF is one word; a line whose last quote is open has none."""
    words, quote = _scanned(line, "\\", redirects=True)
    return [] if quote else words


def _scanned(rest: str, escape: str, *, redirects: bool) -> tuple[list[str], str]:
    """The words, and the quote that is open at the end."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    position = 0
    while position < len(rest):
        char = rest[position]
        taken = 1
        if not quote and char in text.SPACES:
            if word:
                words.append("".join(word))
                word = []
            position += 1
            continue
        if char == escape and quote != "'":
            taken = 2 if position + 1 < len(rest) else 0
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif redirects and not quote and (match := _REDIRECT.match(rest, position)):
            taken = len(match[0])
        word.append(rest[position : position + taken])
        position += taken or 1
    return [*words, "".join(word)] if word else words, quote


def pairs(rest: str, keyword: str, escape: str) -> tuple[tuple[str, str], ...]:
    """`name=value ...`, or the old form `name rest of the line`."""
    words = quoted_words(rest, escape)
    if not words:
        raise Fault(f"{keyword} needs at least one argument", hint=f"write {keyword} name=value")
    if "=" not in words[0]:
        return (_old_pair(rest, keyword),)
    return tuple(_pair(word, keyword) for word in words)


def _old_pair(rest: str, keyword: str) -> tuple[str, str]:
    parts = _BLANKS.split(rest, maxsplit=1)
    if len(parts) < 2:
        raise Fault(
            f"{keyword} {rest} has no value", about=rest, hint=f'write {keyword} {rest}=value, or {rest}="" for empty'
        )
    return parts[0], parts[1]


def _pair(word: str, keyword: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise Fault(
            f"{word!r} has no '=': {keyword} takes name=value",
            about=word,
            hint=f'quote a value that has spaces: {keyword} name="two words"; a comment needs a line of its own',
        )
    if not name:
        raise Fault(f"{keyword} has a value without a name", about=word, hint=f"write {keyword} name{word}")
    return name, value


def json_strings(rest: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None if the text is no JSON array, and so is meant for the shell."""
    if not rest.startswith("["):
        return None
    try:
        values: Any = json.loads(rest, parse_int=_no_number, parse_float=_no_number, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None
    for value in values:
        if not isinstance(value, str):
            raise Fault(
                "a JSON array may hold only strings",
                about=rest,
                hint='put every element in double quotes: ["cmd", "1"]',
            )
    return tuple(value if value.isascii() else re.sub(_HIGH_SURROGATES, "\ufffd", value) for value in values)


def _no_number(_: str) -> None:
    """A number is valid JSON and a wrong element: its value, which may be of any length, is of no use."""


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)


def heredoc_opener(word: str) -> tuple[str, bool, bool] | None:
    """(name, expand, chomp) of a word such as <<EOF, <<-"EOF" or 3<<EOF; None for any other word.

    The body is expanded unless some part of the name is quoted.
    """
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    name = _unquoted(match[2])
    if not name or any(char in text.SPACES for char in name):
        return None
    return name, not ("'" in match[2] or '"' in match[2]), match[1] == "-"


def _unquoted(word: str) -> str:
    quote = ""
    kept: list[str] = []
    escaped = False
    for char in word:
        if escaped:
            kept.append(char)
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            kept.append(char)
    return "" if quote else "".join(kept)
