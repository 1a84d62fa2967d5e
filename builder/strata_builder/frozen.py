"""Immutable classes that are their fields' values: `dataclass(frozen=True, slots=True)` for a twentieth of its price.

The standard library compiles six methods for each class, and loads a parser and a disassembler of Python besides; with the
150 classes that a builder knows before it does anything, most of which have no instance in most builds, that was a third of
its start. Here `__init__` alone is compiled, when a first instance is made and once for all classes of as many fields, and it
writes the slots directly: instances, too, are made in less than half of the time. To `dataclasses` they are its own (PEP 557);
for type checkers PEP 681.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, dataclass_transform, overload

from strata_builder import described
from strata_builder.described import Field

__all__ = ["Field", "asdict", "field", "fields", "frozen", "is_frozen", "replace"]

T = TypeVar("T")
_MISSING: Final = described.MISSING
_MADE_ANEW: Final = object()  # stands for what a factory gives


@overload
def field(*, default: T, repr: bool = True, compare: bool = True) -> T: ...
@overload
def field(*, default_factory: Callable[[], T], repr: bool = True, compare: bool = True) -> T: ...
@overload
def field(*, repr: bool = True, compare: bool = True) -> Any: ...
def field(*, default: Any = _MISSING, default_factory: Any = _MISSING, repr: bool = True, compare: bool = True) -> Any:  # noqa: A002
    """As that of `dataclasses`, for what a field's default alone does not say."""
    return Field(default, default_factory, shown=repr, compared=compare)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """The class with its annotated fields, in slots, which `__init__` takes in their order.

    Two of the same class are equal where their fields are, and can be hashed if these can. To assign to a field raises
    FrozenInstanceError. A `__post_init__` is called; methods that the class has are kept. Raises TypeError for fields that
    cannot be.
    """
    inherited: Mapping[str, Field] = getattr(cls, described.FIELDS, {})
    declared = dict(_declared(cls))
    members = {name: value for name, value in vars(cls).items() if name not in (*declared, "__dict__", "__weakref__")}
    own = {"__qualname__": cls.__qualname__, "__slots__": tuple(name for name in declared if name not in inherited)}
    metaclass: Any = type(cls)
    made: Any = metaclass(cls.__name__, cls.__bases__, _methods({**inherited, **declared}) | members | own)
    if "__init__" not in members:
        made.__init__ = _first_init(made)
    return made  # type: ignore[no-any-return]


if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(value: T, **changes: Any) -> T:
        """Another one with these fields changed."""
        return type(value)(**{name: getattr(value, name) for name in fields(value)} | changes)


def is_frozen(value: Any) -> bool:
    """Whether it is a frozen class, or an instance of one."""
    return hasattr(value, described.FIELDS)


def fields(value: Any) -> Mapping[str, Field]:
    """Those of a frozen class, or of an instance's, by name."""
    found: Mapping[str, Field] = getattr(value, described.FIELDS)
    return found


def asdict(value: Any) -> Any:
    """As that of `dataclasses`: frozen classes as dictionaries, also within tuples."""
    if isinstance(value, tuple):
        return tuple(asdict(each) for each in value)
    return {name: asdict(getattr(value, name)) for name in fields(value)} if is_frozen(value) else value


def _declared(cls: type) -> Iterator[tuple[str, Field]]:
    for name, kind in cls.__annotations__.items():
        if not str(kind).startswith(("ClassVar", "typing.ClassVar")):
            given = vars(cls).get(name, _MISSING)
            found = given if isinstance(given, Field) else Field(given)
            if type(found.default).__hash__ is None:
                raise TypeError(f"{cls.__qualname__}.{name}: a default that can change needs a default_factory")
            yield name, found


def _methods(known: Mapping[str, Field]) -> dict[str, Any]:
    compared = [name for name, field in known.items() if field.compared]
    read: Callable[[Any], Any] = operator.attrgetter(*compared) if compared else _nothing

    def equal(self: Any, other: object) -> Any:
        return read(self) == read(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(read(self))

    made = {"__eq__": equal, "__hash__": hashed, "__repr__": _repr, "__reduce__": _reduce}
    made |= {"__setattr__": described.refuse, "__delattr__": described.refuse}
    return made | {described.FIELDS: known, "__match_args__": tuple(known)} | described.BY_DATACLASSES


def _first_init(cls: Any) -> Callable[..., None]:
    """Puts the compiled one in its own place."""

    def init(self: Any, *given: Any, **named: Any) -> None:
        cls.__init__ = _init(cls)
        cls.__init__(self, *given, **named)

    return init


def _init(cls: Any) -> Callable[..., None]:
    known = fields(cls)
    names: dict[str, Any] = {}
    for number, (name, field) in enumerate(known.items()):
        names[f"set{number}"] = _setter(getattr(cls, name).__set__, field)
    shape = _shape(len(known), hasattr(cls, "__post_init__"))
    code = shape.replace(co_varnames=("self", *known), co_qualname=f"{cls.__qualname__}.__init__")
    return types.FunctionType(code, names, "__init__", _defaults(cls))


def _setter(write: Callable[[Any, Any], None], field: Field) -> Callable[[Any, Any], None]:
    factory = field.default_factory
    if factory is _MISSING:
        return write
    return lambda self, given: write(self, factory() if given is _MADE_ANEW else given)


def _defaults(cls: Any) -> tuple[Any, ...]:
    """Of the last parameters of `__init__`. Raises TypeError where one without a default follows."""
    found: list[Any] = []
    for name, field in fields(cls).items():
        if field.default_factory is not _MISSING:
            found.append(_MADE_ANEW)
        elif field.default is not _MISSING:
            found.append(field.default)
        elif found:
            raise TypeError(f"{cls.__qualname__}.{name}: a field without a default follows one that has one")
    return tuple(found)


@functools.cache
def _shape(count: int, post_init: bool) -> types.CodeType:
    """What classes with as many fields share, all but names. To compile it takes ten times as long as to give it others."""
    numbers = range(count)
    lines = [f"def __init__({', '.join(['self', *(f'f{number}' for number in numbers)])}):", " pass"]
    lines += [f" set{number}(self, f{number})" for number in numbers]
    lines += [" self.__post_init__()"] if post_init else []
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)  # noqa: S102 -- numbers are all that is compiled
    code: types.CodeType = names["__init__"].__code__
    return code


def _nothing(_: object) -> tuple[()]:
    return ()


def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, field in fields(self).items() if field.shown)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _reduce(self: Any) -> tuple[Any, ...]:
    """For copy and pickle, which would set the fields."""
    return type(self), tuple(getattr(self, name) for name in fields(self))
