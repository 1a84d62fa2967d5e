"""JSON values as frozen classes, read strictly: every field of the type that is declared, and no unknown one. Pure."""

from __future__ import annotations

import functools
import math
import typing
from typing import Any

from strata_builder import frozen


class Mismatch(ValueError):
    """A value that is not of the type declared; the text names the field."""


def decode(kind: Any, data: Any, path: str, *, whole: bool) -> Any:
    """`data` as `kind`: text, int, float, bool, a tuple, `X | None`, or a frozen class of such fields. `path` names it in
    messages.

    `whole` wants every field to be there; else a missing one has its default. Raises Mismatch.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if frozen.is_frozen(kind):
        return _object(kind, data, path, whole)
    if origin is tuple:
        return _tuple(args, data, path, whole)
    if origin is not None:  # X | None
        some = next(each for each in args if each is not type(None))
        return None if data is None else decode(some, data, path, whole=whole)
    if type(data) is not kind and not (kind is float and type(data) is int):
        raise Mismatch(f"{path}: expected {kind.__name__}, got {type(data).__name__}")
    if not _fits(data):
        raise Mismatch(f"{path}: expected {kind.__name__}, got one that cannot be written down again")
    return float(data) if kind is float else data


def _fits(value: Any) -> bool:
    """Numbers of 64 bits, text that is valid Unicode: nothing else can be stored, in Kubernetes least of all."""
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
    return math.isfinite(value)


def _tuple(args: tuple[Any, ...], data: Any, path: str, whole: bool) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise Mismatch(f"{path}: expected a list, got {type(data).__name__}")
    kinds = [args[0]] * len(data) if args[-1] is Ellipsis else list(args)
    if len(kinds) != len(data):
        raise Mismatch(f"{path}: expected {len(kinds)} items, got {len(data)}")
    pairs = enumerate(zip(kinds, data, strict=True))
    return tuple(decode(kind, item, f"{path}[{number}]", whole=whole) for number, (kind, item) in pairs)


def _object(kind: Any, data: Any, path: str, whole: bool) -> Any:
    if not isinstance(data, dict):
        raise Mismatch(f"{path}: expected an object, got {type(data).__name__}")
    hints = _hints(kind)
    if unknown := sorted(set(data) - set(hints)):
        raise Mismatch(f"{path}: unknown field {unknown[0][:64]!r}")
    needed = {name for name, field in frozen.fields(kind).items() if whole or field.required}
    if missing := sorted(needed - set(data)):
        raise Mismatch(f"{path}: the field {missing[0]!r} is missing")
    return kind(**{name: decode(hints[name], value, f"{path}.{name}", whole=whole) for name, value in data.items()})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """The types of a class's fields: resolving their annotations takes longer than reading a value."""
    return typing.get_type_hints(kind)
