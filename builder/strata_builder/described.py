"""What a class says of its fields; and the same in the words of `dataclasses`, for who asks that module about such a class.

The standard library's module is loaded by nothing else: it takes a twentieth of a builder's start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

MISSING: Final = object()
FIELDS: Final = "__frozen_fields__"  # the attribute of a class: Field by name, those of base classes first


class Field:
    """What a class declares of one of its fields."""

    __slots__ = ("compared", "default", "default_factory", "shown")

    def __init__(self, default: Any, factory: Any = MISSING, *, shown: bool = True, compared: bool = True) -> None:
        self.default = default
        self.default_factory = factory
        self.shown = shown
        self.compared = compared

    @property
    def required(self) -> bool:
        return self.default is MISSING and self.default_factory is MISSING


class _Told:
    """An attribute that `dataclasses` reads, made of a class's fields when it is first read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        import dataclasses

        known: Mapping[str, Field] = getattr(owner, FIELDS)
        members: dict[str, Any] = {"__annotations__": dict.fromkeys(known, "object"), "__doc__": owner.__doc__ or " "}
        for name, field in known.items():
            given = {what: getattr(field, what) for what in ("default", "default_factory")}
            given = {what: value for what, value in given.items() if value is not MISSING}
            members[name] = dataclasses.field(repr=field.shown, compare=field.compared, **given)
        twin: type = dataclasses.dataclass(init=False, repr=False, eq=False)(type(owner.__name__, (), members))
        found = getattr(twin, self._name)
        setattr(owner, self._name, found)
        return found


BY_DATACLASSES: Final = {name: _Told(name) for name in ("__dataclass_fields__", "__dataclass_params__")}


def refuse(value: Any, name: str, *_: object) -> NoReturn:
    """For `__setattr__` and `__delattr__`."""
    import dataclasses

    raise dataclasses.FrozenInstanceError(f"the field {name!r} of a {type(value).__qualname__} cannot be changed")
