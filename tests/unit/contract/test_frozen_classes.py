"""Frozen classes are what the standard library's frozen dataclasses are."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from strata_builder import frozen as ours
from strata_builder.frozen import frozen

_standard = dataclasses.dataclass(frozen=True, slots=True)


def classes(make: Callable[[type], type], field: Callable[..., Any]) -> dict[str, Any]:
    """The same declarations, made by either."""

    @make
    class Empty:
        """None."""

    @make
    class Plain:
        a: int
        b: str = "b"
        c: list[int] = field(default_factory=list)
        LIMIT: ClassVar[int] = 7

        def both(self) -> str:
            return f"{self.a}{self.b}"

    @make
    class Child(Plain):
        d: tuple[int, ...] = ()
        b: str = "other"

    @make
    class Secret:
        user: str
        password: str = field(default="", repr=False)
        found: Any = field(default=None, compare=False)

    @make
    class Checked:
        a: int

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError("a")

        def __repr__(self) -> str:
            return "mine"

    return {found.__name__: found for found in (Empty, Plain, Child, Secret, Checked)}


OURS, THEIRS = classes(frozen, ours.field), classes(_standard, dataclasses.field)


def result(call: Callable[[], Any]) -> str:
    try:
        return repr(call()).replace("classes.<locals>.", "")
    except (TypeError, ValueError, AttributeError) as error:
        return f"{type(error).__name__} {error}" if isinstance(error, TypeError) else type(error).__name__


CALLS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "empty": lambda k: (k["Empty"](), k["Empty"]() == k["Empty"](), hash(k["Empty"]())),
    "defaults": lambda k: (k["Plain"](1), k["Plain"](1).both(), k["Plain"].LIMIT),
    "each a list of its own": lambda k: k["Plain"](1).c is k["Plain"](1).c,
    "named": lambda k: k["Plain"](b="x", a=2, c=[3]),
    "too few": lambda k: k["Plain"](),
    "too many": lambda k: k["Plain"](1, 2, 3, 4),
    "unknown": lambda k: k["Plain"](1, z=2),
    "assigned": lambda k: setattr(k["Plain"](1), "a", 2),
    "deleted": lambda k: delattr(k["Plain"](1), "a"),
    "inherited": lambda k: (
        k["Child"](1, d=(2,)),
        k["Child"](1).both(),
        [f.name for f in dataclasses.fields(k["Child"])],
    ),
    "equal": lambda k: (k["Child"](1) == k["Child"](1), k["Child"](1) == k["Child"](2), k["Child"](1) != k["Child"](2)),
    "another class": lambda k: (k["Plain"](1, "other") == k["Child"](1), k["Plain"](1) == 1),
    "a subclass without fields": lambda k: type("Sub", (k["Secret"],), {})("a") == k["Secret"]("a"),
    "unhashable": lambda k: hash(k["Plain"](1)),
    "equal hashes": lambda k: hash(k["Secret"]("a")) == hash(k["Secret"]("a", found=[])),
    "one hash each": lambda k: len({k["Secret"]("a"), k["Secret"]("b"), k["Secret"]("a")}),
    "not compared": lambda k: k["Secret"]("a", found=1) == k["Secret"]("a", found=2),
    "not shown": lambda k: k["Secret"]("a", "p"),
    "checked": lambda k: k["Checked"](-1),
    "own methods": lambda k: k["Checked"](1),
    "replace": lambda k: dataclasses.replace(k["Child"](1), b="z"),
    "replace checks": lambda k: dataclasses.replace(k["Checked"](1), a=-1),
    "asdict": lambda k: dataclasses.asdict(k["Child"](1)),
    "astuple": lambda k: dataclasses.astuple(k["Child"](1)),
    "copy": lambda k: (copy.copy(k["Child"](1)), copy.deepcopy(k["Child"](1, c=[1])).c),
    "no dictionary": lambda k: vars(k["Plain"](1)),
    "slots": lambda k: [k[name].__slots__ for name in k],
    "patterns": lambda k: [k[name].__match_args__ for name in k],
    "is one": lambda k: [dataclasses.is_dataclass(k[name]) for name in k],
}


@pytest.mark.parametrize("name", CALLS)
def test_they_do_what_dataclasses_do(name: str):
    assert result(lambda: CALLS[name](OURS)) == result(lambda: CALLS[name](THEIRS))


@frozen
class Kept:
    a: int
    b: tuple[str, ...] = ()


def test_they_can_be_pickled():
    assert pickle.loads(pickle.dumps(Kept(1, ("x",)))) == Kept(1, ("x",))


@pytest.mark.parametrize("default", [[], {}, set()], ids=repr)
def test_what_all_instances_would_share_is_refused(default: Any):
    with pytest.raises(TypeError, match=r"Odd\.a: a default that can change needs a default_factory"):
        frozen(type("Odd", (), {"__annotations__": {"a": "int"}, "a": default, "__module__": __name__}))


def test_a_field_without_a_default_after_one_that_has_one_is_refused_with_the_first_instance():
    odd = frozen(type("Odd", (), {"__annotations__": {"a": "int", "b": "int"}, "a": 1, "__module__": __name__}))
    with pytest.raises(TypeError, match=r"Odd\.b: a field without a default follows one that has one"):
        odd(1, 2)


def test_classes_of_as_many_fields_have_their_own_names_and_defaults():
    @frozen
    class One:
        a: int
        b: list[int] = ours.field(default_factory=list)

    @frozen
    class Other:
        x: int = 1
        y: int = 2

        def __post_init__(self) -> None:
            if self.x > self.y:
                raise ValueError(f"{self.x} > {self.y}")

    @frozen
    class Third:
        b: int
        a: int = 7

    assert (One(a=1), Other(y=5), Third(b=2)) == (One(1, []), Other(1, 5), Third(2, 7))
    assert One(1).b is not One(1).b
    assert One.__init__.__qualname__.endswith("One.__init__")
    assert str(inspect.signature(Third)) == "(b, a=7)"
    with pytest.raises(ValueError, match="3 > 2"):
        Other(3)
    for call in (lambda: One(b=[]), lambda: Third(1, x=2), lambda: Third(1, 2, 3), lambda: Other(1, x=1)):  # type: ignore[call-arg,misc]
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            call()


def test_replace_is_theirs():
    assert ours.replace(OURS["Child"](1), b="z") == dataclasses.replace(OURS["Child"](1), b="z")
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        ours.replace(Kept(1), z=2)  # type: ignore[call-arg]


def test_asdict_is_theirs():
    nested = Kept(1, (Kept(2), Kept(3, ("x",))))  # type: ignore[arg-type]
    assert ours.asdict(nested) == dataclasses.asdict(nested)
    assert ours.asdict(OURS["Empty"]()) == {}


def test_nothing_is_compiled_before_there_is_an_instance(monkeypatch: pytest.MonkeyPatch):
    compiled: list[type] = []
    compile_init = ours._init
    monkeypatch.setattr(ours, "_init", lambda cls: (compiled.append(cls), compile_init(cls))[1])
    made = classes(frozen, ours.field)["Plain"]
    assert not compiled
    assert [made(1), made(2)] == [made(1), made(2)]
    assert compiled == [made]


def test_they_take_no_other_attribute():
    with pytest.raises(dataclasses.FrozenInstanceError, match="the field 'z' of a Kept cannot be changed"):
        Kept(1).z = 2  # type: ignore[attr-defined]
