"""The table of a node proxy: which port leads to which registry, as the operator writes it and the proxy reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_MAX_TABLE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Upstream:
    """A registry's Service. `ca_bundle` is PEM, the only authorities that are trusted for it."""

    host: str
    port: int
    ca_bundle: str


class TableError(ValueError):
    """A table that cannot be used; the text names the port and the field."""


def parse(text: str) -> dict[int, Upstream]:
    """The table in `text`: port -> upstream. Raises TableError."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise TableError(f"not JSON: {e}") from e
    if not isinstance(table, dict):
        raise TableError(f"expected an object, got a JSON {type(table).__name__}")
    return {_port(port): _upstream(port, entry) for port, entry in table.items()}


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1024 <= int(text[:6]) <= 65535):
        raise TableError(f"{text[:32]!r} is not a port from 1024 to 65535")
    return int(text)


def _upstream(port: str, entry: Any) -> Upstream:
    if not isinstance(entry, dict):
        raise TableError(f"{port}: expected an object")
    for field, kind in (("host", str), ("port", int), ("caBundle", str)):
        if not isinstance(entry.get(field), kind) or not entry[field]:
            raise TableError(f"{port}.{field}: expected a {kind.__name__}")
    return Upstream(entry["host"], entry["port"], entry["caBundle"])


def read(path: Path) -> str:
    """The text of a table. Raises OSError, TableError for one that is too long."""
    with path.open(encoding="utf-8") as file:
        text = file.read(_MAX_TABLE + 1)
    if len(text) > _MAX_TABLE:
        raise TableError("longer than 1 MiB")
    return text
