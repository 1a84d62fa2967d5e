"""JSON from strangers to plain values, and plain values to canonical bytes. Pure.

Two parsers that read one document differently are a way to smuggle an image past a check, so what is ambiguous is
refused: a key given twice, NaN, a lone surrogate, bytes that are not UTF-8. Depth and size are bounded.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from strata_builder.oci import errors

MAX_DEPTH: Final = 64
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATES = "[\ud800-\udfff]"  # compiled where there may be one: it takes a moment
# A string that does not end takes all that is left: it is looked through once, not once for each quote in it.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


def loads(data: bytes, *, limit: int, what: str) -> dict[str, Any]:
    """The JSON object in `data`, at most `limit` bytes. Raises ImageInvalid that names `what`."""
    if len(data) > limit:
        raise errors.ImageInvalid(f"{what} has {len(data)} bytes, more than {limit}")
    _check_depth(data, what)
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
        if _SURROGATE.search(data):
            dumps(value)
    except (ValueError, RecursionError) as e:
        raise errors.ImageInvalid(f"{what} is not valid JSON: {str(e)[:200]}") from None
    if not isinstance(value, dict):
        raise errors.ImageInvalid(f"{what} must be a JSON object, not {kind(value)}")
    return value


def dumps(value: Any) -> bytes:
    """Canonical bytes: sorted keys, no white space, UTF-8. Raises ValueError for what has no such form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def writable(value: Any) -> Any:
    """`value` as `dumps` takes it: in its text each byte that was no UTF-8 (surrogateescape) is U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else re.sub(_SURROGATES, "\ufffd", value)
    if isinstance(value, dict):
        return {writable(key): writable(item) for key, item in value.items()}
    return [writable(item) for item in value] if isinstance(value, list) else value


def kind(value: Any) -> str:
    """The JSON name of a value's type."""
    names: dict[type, str] = {
        type(None): "null",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
    }
    return names.get(type(value), "an object")


def _check_depth(data: bytes, what: str) -> None:
    depth = 0
    for match in _BRACKETS.finditer(data):
        first = match[0][:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth > MAX_DEPTH:
            raise errors.ImageInvalid(f"{what} is nested more than {MAX_DEPTH} levels deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:64]!r} is given twice")
    return result


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_constant(text[:64])


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
