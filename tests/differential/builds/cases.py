"""The cases of the corpus, as values. Pure; the format is described in corpus/README.md."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

SETTINGS = frozenset({"target", "platform", "network", "arg", "label", "file", "secret", "refused"})
KEYS = frozenset({"mode", "owner", "time", "as", "packed", "cut", "status"})
FORMS = frozenset({"text", "line", "escaped", "zeros", "tar"})
PACKED = frozenset({"gzip", "bzip2", "xz", "zstd"})
_HEADER = re.compile(r"-- (\S.*) --")
_ESCAPE = re.compile(rb"\\(r|n|t|\\|x[0-9A-Fa-f]{2})")


class CaseError(Exception):
    """A case is not written as the format asks; the text names file and line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory (name ends in /), or link (`symlink` or `hardlink` is what it points to)."""

    name: str
    content: bytes = b""
    symlink: str = ""
    hardlink: str = ""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    time: int | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    archive: bool = False
    packed: str = ""
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """`settings` are (name, value) in their order; `entries` in the order in which they are made."""

    name: str
    settings: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]

    def setting(self, name: str) -> str | None:
        """The last value of that name."""
        return next((value for key, value in reversed(self.settings) if key == name), None)

    @property
    def epoch(self) -> str | None:
        """SOURCE_DATE_EPOCH of its own: a number, or the word for whose time it is."""
        given = [value.partition("=") for key, value in self.settings if key == "arg"]
        return next((value for name, _, value in reversed(given) if name == "SOURCE_DATE_EPOCH"), None)

    @property
    def dockerfile(self) -> str:
        """Its name in the context."""
        return self.setting("file") or "Dockerfile"


def parse(name: str, text: str) -> Case:
    """The case called `name` in a file's text.

    Raises:
        CaseError: a line is none of the format.
    """
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if _HEADER.fullmatch(line.removesuffix("\r"))]
    if not starts:
        raise CaseError(f"{name}: no entry; a case needs at least '-- Dockerfile --'")
    ends = [*starts[1:], len(lines)]
    settings = tuple(_settings(name, lines[: starts[0]]))
    entries = tuple(_entry(f"{name}:{s + 1}", lines[s], lines[s + 1 : e]) for s, e in zip(starts, ends, strict=True))
    case = Case(name, settings, entries)
    if not {case.dockerfile, case.dockerfile.lower()} & {entry.name for entry in entries}:
        raise CaseError(f"{name}: no entry '-- {case.dockerfile} --'")
    return case


def _settings(name: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if not colon or key not in SETTINGS:
            raise CaseError(f"{name}:{number}: {line!r} is no setting; there are {', '.join(sorted(SETTINGS))}")
        yield key, value.strip()


def _entry(where: str, header: str, lines: list[str]) -> Entry:
    match = _HEADER.fullmatch(header)
    assert match is not None
    names, options = _words(where, shlex.split(match[1]))
    symlink, hardlink = _links(where, names)
    name = names[0]
    form = options.get("as", "text")
    if form not in FORMS:
        raise CaseError(f"{where}: as={form}; there are {', '.join(sorted(FORMS))}")
    if (packed := options.get("packed", "")) and packed not in PACKED:
        raise CaseError(f"{where}: packed={packed}; there are {', '.join(sorted(PACKED))}")
    user, _, group = options.get("owner", "0:0").partition(":")
    return Entry(
        name,
        _content(form, lines),
        symlink,
        hardlink,
        int(options.get("mode", "0755" if name.endswith("/") else "0644"), 8),
        (int(user), int(group)),
        int(options["time"]) if "time" in options else None,
        {key[6:]: bytes.fromhex(value) for key, value in options.items() if key.startswith("xattr.")},
        {key[7:]: value for key, value in options.items() if key.startswith("header.")},
        int(options.get("status", "200")),
        form == "tar",
        packed,
        int(options["cut"]) if "cut" in options else None,
    )


def _words(where: str, words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The names before the first KEY=VALUE, and the pairs."""
    first = next((n for n, word in enumerate(words) if re.match(r"[a-z]+(\.[\w.-]+)?=[^>]", word)), len(words))
    options = dict(word.partition("=")[::2] for word in words[first:])
    unknown = [key for key in options if key not in KEYS and not key.startswith(("xattr.", "header."))]
    if unknown:
        raise CaseError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(sorted(KEYS))}, xattr.*, header.*")
    return [word if word in ("->", "=>") else _name(word) for word in words[:first]], options


def _name(word: str) -> str:
    """Names are bytes: what is not UTF-8 becomes surrogates, as os.fsdecode makes them."""
    return unquote(word, errors="surrogateescape")


def _links(where: str, names: list[str]) -> tuple[str, str]:
    match names:
        case [_]:
            return "", ""
        case [_, "->", target]:
            return target, ""
        case [_, "=>", target]:
            return "", target
    raise CaseError(f"{where}: a name, 'a -> b' or 'a => b' is expected; quote names with spaces")


def _content(form: str, lines: list[str]) -> bytes:
    """The lines of an entry as bytes. The last item is what follows the last newline: empty, but at the file's end."""
    text = "\n".join(lines).encode(errors="surrogateescape")
    text = text if not text or text.endswith(b"\n") else text + b"\n"
    if form == "line":
        return text.removesuffix(b"\n")
    if form == "zeros":
        return bytes(int(text or b"0"))
    if form == "escaped":
        return _ESCAPE.sub(_escape, text.replace(b"\n", b""))
    return text


def _escape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}.get(code) or bytes.fromhex(code[1:].decode())
