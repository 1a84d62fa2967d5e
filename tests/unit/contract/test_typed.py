"""Values between processes: every field of its type, and none that is not known."""

from __future__ import annotations

import pytest

from strata_builder import typed
from strata_builder.frozen import frozen


@frozen
class Inner:
    name: str
    sizes: tuple[int, ...] = ()


@frozen
class Outer:
    inner: Inner
    pair: tuple[str, int] = ("", 0)
    ratio: float = 0.5
    flag: bool = False
    maybe: Inner | None = None


WHOLE = {
    "inner": {"name": "n", "sizes": [1, 2]},
    "pair": ["a", 1],
    "ratio": 2,
    "flag": True,
    "maybe": {"name": "m", "sizes": []},
}


def test_a_whole_value_and_one_with_defaults():
    assert typed.decode(Outer, WHOLE, "x", whole=True) == Outer(Inner("n", (1, 2)), ("a", 1), 2.0, True, Inner("m"))
    assert typed.decode(Outer, {"inner": {"name": "n"}}, "x", whole=False) == Outer(Inner("n"))
    assert typed.decode(Outer, {**WHOLE, "maybe": None}, "x", whole=True).maybe is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inner": None}, "x.inner: expected an object, got NoneType"),
        ({"inner": {"name": 1, "sizes": []}}, "x.inner.name: expected str, got int"),
        ({"inner": {"name": "n", "sizes": [1, True]}}, "x.inner.sizes[1]: expected int, got bool"),
        ({"inner": {"name": "n", "sizes": {}}}, "x.inner.sizes: expected a list"),
        ({"inner": {"name": "n", "sizes": [], "z": 1}}, "x.inner: unknown field 'z'"),
        ({"pair": ["a"]}, "x.pair: expected 2 items, got 1"),
        ({"ratio": float("nan")}, "x.ratio: expected float"),
        ({"ratio": float("inf")}, "x.ratio: expected float"),
        ({"ratio": True}, "x.ratio: expected float, got bool"),
        ({"ratio": 10**400}, "x.ratio: expected float, got one that cannot be written down again"),
        ({"pair": ["a", 2**63]}, "x.pair[1]: expected int, got one that cannot"),
        ({"pair": ["a", -(2**63) - 1]}, "x.pair[1]: expected int, got one that cannot"),
        ({"inner": {"name": "a\ud800", "sizes": []}}, "x.inner.name: expected str, got one that cannot"),
        ({"flag": 1}, "x.flag: expected bool, got int"),
        ({"maybe": []}, "x.maybe: expected an object, got list"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_wrong_is_named_by_its_place(change, said, whole):
    with pytest.raises(typed.Mismatch) as caught:
        typed.decode(Outer, WHOLE | change, "x", whole=whole)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("data", "whole", "said"),
    [
        ({}, False, "x: the field 'inner' is missing"),
        ({"inner": {"name": "n"}}, True, "x: the field 'flag' is missing"),
        ({k: v for k, v in WHOLE.items() if k != "pair"}, True, "x: the field 'pair' is missing"),
    ],
)
def test_a_missing_field_is_named(data, whole, said):
    with pytest.raises(typed.Mismatch, match=said):
        typed.decode(Outer, data, "x", whole=whole)
