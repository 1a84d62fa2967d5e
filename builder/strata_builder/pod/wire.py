"""Frozen dataclasses as JSON between the containers of a pod, read strictly: no unknown field, no wrong type. Pure."""

from __future__ import annotations

import dataclasses
import math
import typing
from typing import Any, TypeVar

from strata_builder.oci import errors as oci_errors
from strata_builder.oci import strictjson

T = TypeVar("T")


class WireError(ValueError):
    """What another container said is not what was agreed; the text names the field."""


def dump(value: Any) -> bytes:
    """Canonical JSON of a dataclass whose fields are text, numbers, booleans, None, tuples and such dataclasses."""
    return strictjson.dumps(dataclasses.asdict(value))


def load(kind: type[T], data: bytes, *, limit: int, what: str) -> T:
    """A `kind` from its JSON, at most `limit` bytes. Raises WireError."""
    try:
        parsed = strictjson.loads(data, limit=limit, what=what)
    except oci_errors.ImageInvalid as e:
        raise WireError(e.message) from None
    return typing.cast(T, _typed(kind, parsed, what))


def _typed(kind: Any, data: Any, path: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, data, path)
    if origin is tuple:
        return _tuple(args, data, path)
    if origin is not None:  # X | None
        return None if data is None else _typed(next(a for a in args if a is not type(None)), data, path)
    if kind is float and type(data) is int:
        data = float(data)
    if type(data) is not kind or (kind is float and not math.isfinite(data)):
        raise WireError(f"{path}: expected {kind.__name__}, got {type(data).__name__}")
    return data


def _tuple(args: tuple[Any, ...], data: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise WireError(f"{path}: expected a list, got {type(data).__name__}")
    if args[-1] is Ellipsis:
        return tuple(_typed(args[0], item, f"{path}[{n}]") for n, item in enumerate(data))
    if len(args) != len(data):
        raise WireError(f"{path}: expected {len(args)} items, got {len(data)}")
    return tuple(_typed(kind, item, f"{path}[{n}]") for n, (kind, item) in enumerate(zip(args, data, strict=True)))


def _dataclass(kind: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise WireError(f"{path}: expected an object, got {type(data).__name__}")
    hints = typing.get_type_hints(kind)
    if odd := sorted(set(data) ^ set(hints)):
        raise WireError(f"{path}: the field {odd[0][:64]!r} is missing or unknown")
    return kind(**{name: _typed(hints[name], value, f"{path}.{name}") for name, value in data.items()})
