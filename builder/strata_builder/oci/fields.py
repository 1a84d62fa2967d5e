"""Typed reads of a parsed JSON object: each says the full path of what has the wrong type. null counts as absent.
Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strata_builder.oci import errors, strictjson


def text(data: Mapping[str, Any], key: str, path: str, *, required: bool = False) -> str:
    value = data.get(key)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise _wrong(path, key, "a string", value)
    return value


def size(data: Mapping[str, Any], key: str, path: str) -> int:
    """A number of bytes: a whole number of at most 2^63-1, not negative."""
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise _wrong(path, key, "a number of bytes", value)
    return value


def mapping(data: Mapping[str, Any], key: str, path: str) -> dict[str, Any]:
    value = data.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(path, key, "an object", value)
    return value


def items(data: Mapping[str, Any], key: str, path: str) -> list[Any]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(path, key, "an array", value)
    return value


def texts(data: Mapping[str, Any], key: str, path: str) -> tuple[str, ...]:
    values = items(data, key, path)
    for n, value in enumerate(values):
        if not isinstance(value, str):
            raise _wrong(path, f"{key}[{n}]", "a string", value)
    return tuple(values)


def pairs(data: Mapping[str, Any], key: str, path: str) -> tuple[tuple[str, str], ...]:
    """An object of strings, as sorted pairs."""
    found = mapping(data, key, path)
    for name, value in found.items():
        if not isinstance(value, str):
            raise _wrong(path, f"{key}.{name[:64]}", "a string", value)
    return tuple(sorted(found.items()))


def objects(data: Mapping[str, Any], key: str, path: str) -> list[dict[str, Any]]:
    values = items(data, key, path)
    for n, value in enumerate(values):
        if not isinstance(value, dict):
            raise _wrong(path, f"{key}[{n}]", "an object", value)
    return values


def _wrong(path: str, key: str, expected: str, value: Any) -> errors.ImageInvalid:
    found = "is missing" if value is None else f"is {strictjson.kind(value)}"
    return errors.ImageInvalid(f"{path}: {key} must be {expected} but {found}")
