"""What of a stack's layers nobody can see."""

from __future__ import annotations

import random

import pytest

from strata_builder.entries import Entry, Kind
from strata_builder.layers import index, paths
from strata_builder.rootfs import covered, view

DIGEST = "0" * 64


def layer(*entries: Entry, whiteouts: tuple[bytes, ...] = (), opaque: tuple[bytes, ...] = ()) -> index.Index:
    built = index.Builder()
    for entry in entries:
        built.add(entry)
    for path in whiteouts:
        built.hide(path)
    for path in opaque:
        built.hide_below(path)
    return built.finish()


def file(path: bytes, size: int = 2 << 20) -> Entry:
    return Entry(path, Kind.FILE, 0o644, size=size, digest=DIGEST)


def folder(path: bytes) -> Entry:
    return Entry(path, Kind.DIR, 0o755)


LOWER = layer(folder(b"d"), file(b"d/a"), folder(b"d/sub"), file(b"d/sub/b"), file(b"da"), file(b"e"))


@pytest.mark.parametrize(
    ("upper", "gone"),
    [
        (layer(file(b"e")), {b"e"}),
        (layer(folder(b"e")), set()),
        (layer(folder(b"d")), set()),
        (layer(file(b"d")), {b"d/a", b"d/sub/b"}),
        (layer(whiteouts=(b"d",)), {b"d/a", b"d/sub/b"}),
        (layer(whiteouts=(b"d/sub",)), {b"d/sub/b"}),
        (layer(folder(b"d"), opaque=(b"d",)), {b"d/a", b"d/sub/b"}),
        (layer(opaque=(b"",)), {b"d/a", b"d/sub/b", b"da", b"e"}),
        (layer(whiteouts=(b"x",)), set()),
        (None, set()),
    ],
)
def test_what_is_replaced_or_deleted_above_is_covered(upper: index.Index | None, gone: set[bytes]) -> None:
    assert covered.of([LOWER, upper]) == [gone, set()]
    assert covered.of([LOWER, layer(file(b"other", 1)), upper]) == [gone, set(), set()]


def test_a_file_whose_other_name_shows_is_not_covered() -> None:
    linked = layer(file(b"a"), Entry(b"b", Kind.HARDLINK, 0o644, link=b"a"))
    assert covered.of([linked, layer(whiteouts=(b"a",))]) == [set(), set()]


def test_little_is_left_where_it_can_be_shared() -> None:
    assert covered.of([layer(file(b"a", 10), file(b"b", 10)), layer(whiteouts=(b"a",))]) == [set(), set()]


def test_a_layer_whose_files_are_covered_needs_none_of_its_bytes() -> None:
    above = layer(folder(b"d"), Entry(b"l", Kind.SYMLINK, 0o777, link=b"x"), file(b"empty", 0), whiteouts=(b"x",))
    assert covered.needs_bytes(LOWER, frozenset())
    assert not covered.needs_bytes(above, frozenset())
    assert not covered.needs_bytes(LOWER, frozenset({b"d/a", b"d/sub/b", b"da", b"e"}))


def _random_layer(rng: random.Random) -> index.Index:
    names = [b"a", b"a/b", b"a/b/c", b"a/d", b"e", b"e/f", b"g"]
    kinds: dict[bytes, Entry] = {}
    for name in names:
        below_a_file = any(kinds[above].kind is Kind.FILE for above in paths.parents(name) if above in kinds)
        if rng.random() < 0.5 and not below_a_file:
            kinds[name] = folder(name) if rng.random() < 0.5 else file(name)
    gone = tuple(name for name in names if rng.random() < 0.15)
    return layer(*kinds.values(), whiteouts=gone, opaque=tuple(name for name in names if rng.random() < 0.08))


@pytest.mark.parametrize("seed", range(200))
def test_nothing_that_the_view_shows_is_covered(seed: int) -> None:
    rng = random.Random(seed)
    stack = [_random_layer(rng) for _ in range(rng.randint(2, 5))]
    shown = view.View(stack)
    for number, gone in enumerate(covered.of(stack)):
        for path in gone:
            assert shown.layer_of(path) != number, path
            assert not any(
                shown.layer_of(inside) == number for inside in stack[number].paths() if inside.startswith(path + b"/")
            )
