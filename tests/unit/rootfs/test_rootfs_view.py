"""The merged view of stacked indexes."""

from __future__ import annotations

import random

import pytest

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import following, index
from strata_builder.rootfs import placed, view
from support.layertrees import Merged


def layer(*entries: Entry, gone: tuple[bytes, ...] = (), opaque: tuple[bytes, ...] = (), texts=()) -> index.Index:
    built = index.Builder()
    for entry in entries:
        built.add(entry, dict(texts).get(entry.path))
    for path in gone:
        built.hide(path)
    for path in opaque:
        built.hide_below(path)
    return built.finish()


def a_file(path: str, mode: int = 0o644, **fields) -> Entry:
    return Entry(path.encode(), Kind.FILE, mode, digest="11" * 32, **fields)


def a_folder(path: str, mode: int = 0o755, **fields) -> Entry:
    return Entry(path.encode(), Kind.DIR, mode, **fields)


def a_link(path: str, text: str) -> Entry:
    return Entry(path.encode(), Kind.SYMLINK, 0o777, link=text.encode())


def kinds(shown: view.View, *paths: bytes) -> list[str]:
    found = [shown.lookup(path) for path in paths]
    return ["-" if entry is None else f"{entry.kind.name} {entry.mode:o}" for entry in found]


def test_the_topmost_word_on_a_path_counts():
    shown = view.View([layer(a_folder("d", 0o700), a_file("d/f"))]).push(
        layer(a_folder("d", 0o711), a_file("d/g", 0o600))
    )
    assert kinds(shown, b"d", b"d/f", b"d/g", b"d/h") == ["DIR 711", "FILE 644", "FILE 600", "-"]
    assert shown.children(b"d") == [b"f", b"g"]
    assert shown.children(b"") == [b"d"]


def test_the_root_is_always_there():
    assert kinds(view.View(), b"") == ["DIR 755"]
    assert kinds(view.View([layer(a_folder("", 0o700))]), b"") == ["DIR 700"]


@pytest.mark.parametrize(
    "above",
    [
        layer(gone=(b"d",)),
        layer(a_file("d")),
        layer(a_link("d", "/x")),
        layer(gone=(b"d/a", b"d/b")),
        layer(a_folder("d"), opaque=(b"d",)),
        layer(opaque=(b"",)),
    ],
    ids=["whiteout", "file", "link", "whiteouts of all", "opaque", "opaque root"],
)
def test_what_a_layer_hides_is_gone_at_any_depth(above: index.Index):
    base = layer(a_folder("d"), a_folder("d/a"), a_file("d/a/x"), a_file("d/b"))
    shown = view.View([base, above])
    assert kinds(shown, b"d/a", b"d/a/x", b"d/b") == ["-", "-", "-"]
    assert shown.children(b"d") == shown.children(b"d/a") == []
    assert shown.layer_of(b"d/a/x") is None
    again = shown.push(layer(a_folder("d"), a_folder("d/a"), a_file("d/a/y")))
    assert again.children(b"d/a") == [b"y"]
    assert again.lookup(b"d/a/x") is None


def test_a_directory_that_is_only_used_looks_as_below_or_as_made():
    shown = view.View([layer(a_folder("d", 0o700)), layer(a_file("d/e/f"))])
    assert kinds(shown, b"d", b"d/e") == ["DIR 700", "DIR 755"]
    assert kinds(view.View([layer(a_file("d")), layer(a_file("d/f"))]), b"d") == ["DIR 755"]
    hidden = view.View([layer(a_folder("d", 0o700)), layer(gone=(b"d",)), layer(a_file("d/f"))])
    assert kinds(hidden, b"d") == ["DIR 755"]


def test_a_hard_link_shows_the_file_that_it_is():
    link = Entry(b"b", Kind.HARDLINK, 0o600, link=b"a")
    shown = view.View([layer(a_file("a", 0o4755, uid=7), link)])
    found = shown.lookup(b"b")
    assert found is not None
    assert (found.kind, found.mode, found.uid, found.link) == (Kind.FILE, 0o4755, 7, b"")


@pytest.mark.parametrize(
    ("path", "real"),
    [
        (b"/var/run/x", b"run/x"),
        (b"opt/link/../a", b"opt/a"),
        (b"../../etc//./passwd", b"etc/passwd"),
        (b"up/passwd", b"etc/passwd"),
        (b"nothing/../else", b"else"),
        (b"chain", b"etc/passwd"),
        (b"opt/tl/missing/deep", b"opt/real/missing/deep"),
    ],
)
def test_links_are_followed_inside_the_root(path: bytes, real: bytes):
    shown = view.View(
        [
            layer(a_link("var/run", "/run"), a_folder("opt/real"), a_link("opt/link", "real"), a_file("etc/passwd")),
            layer(
                a_link("up", "../../../etc"),
                a_link("chain", "c2"),
                a_link("c2", "up/passwd"),
                a_link("opt/tl", "/opt/link"),
            ),
        ]
    )
    assert following.follow(shown.lookup, path) == real


def test_a_loop_of_links_is_an_error_that_names_the_path():
    shown = view.View([layer(a_link("a", "b"), a_link("b", "a/"))])
    with pytest.raises(errors.LayerError, match="too many symbolic links in /a/x"):
        following.follow(shown.lookup, b"a/x")


def test_a_path_that_linux_does_not_take_is_refused_without_being_followed_or_told_in_full():
    with pytest.raises(errors.LayerError, match=r"longer than Linux takes \(4096 bytes\)") as caught:
        following.follow(lambda path: pytest.fail(f"{path!r} was looked up"), b"a/" * 30_000)
    assert len(str(caught.value)) < 500


def test_texts_follow_links_and_whiteouts():
    base = layer(a_file("etc/passwd"), texts=[(b"etc/passwd", b"one")])
    assert view.View([base]).text(b"etc/passwd") == b"one"
    assert view.View([base, layer(gone=(b"etc/passwd",))]).text(b"etc/passwd") is None
    assert view.View([base, layer(a_folder("etc"), a_file("etc/passwd"))]).text(b"etc/passwd") is None
    assert view.View([base, layer(a_link("e", "/etc"))]).text(b"e/passwd") == b"one"


def random_layer(random_: random.Random, below: Merged) -> index.Index:
    """Any layer that an unpacker accepts: files, links, directories, markers, some directories only used."""
    names = [b"a", b"b", b"c"]
    entries: dict[bytes, Entry] = {}
    for _ in range(random_.randint(1, 8)):
        path = b"/".join(random_.choices(names, k=random_.randint(1, 4)))
        kind = random_.choice([Kind.FILE, Kind.DIR, Kind.DIR, Kind.SYMLINK])
        digest = "22" * 32 if kind is Kind.FILE else ""
        entry = Entry(
            path, kind, random_.choice([0o700, 0o755]), digest=digest, link=b"x" if kind is Kind.SYMLINK else b""
        )
        above = [path[:n] for n in range(len(path)) if path[n : n + 1] == b"/"]
        if any(entries[p].kind is not Kind.DIR for p in above if p in entries):
            continue
        if kind is not Kind.DIR and any(other.startswith(path + b"/") for other in entries):
            continue
        entries[path] = entry
    known = sorted(path for path in below.entries if path)
    gone = random_.sample(known, min(len(known), random_.randint(0, 2)))
    opaque = [p for p, e in entries.items() if e.kind is Kind.DIR and random_.random() < 0.2]
    shadowed = [p for p, e in entries.items() if e.kind is not Kind.DIR]
    gone = [path for path in gone if not any(path.startswith(s + b"/") for s in shadowed)]
    return layer(*entries.values(), gone=tuple(gone), opaque=tuple(opaque))


@pytest.mark.parametrize("seed", range(150))
def test_a_view_is_what_unpacking_one_after_another_gives(seed: int):
    random_ = random.Random(seed)
    merged, shown = Merged(), view.View()
    for _ in range(random_.randint(1, 6)):
        top = random_layer(random_, merged)
        merged.push(top)
        shown = shown.push(top)
    todo, found = [b""], {}
    while todo:
        folder = todo.pop()
        for name in shown.children(folder):
            path = folder + b"/" + name if folder else name
            found[path] = shown.lookup(path)
            todo.append(path)
    assert found == {path: entry for path, entry in merged.entries.items() if path}


def test_a_path_of_two_thousand_directories_is_no_trouble():
    deep = "/".join(["d"] * 2000)
    shown = view.View([layer(a_file(deep)), layer(a_file("x"))])
    assert kinds(shown, deep.encode()) == ["FILE 644"]


def test_what_came_now_has_its_time_in_the_comparison_and_nothing_else_has():
    dated = placed.Dated(view.View([layer(a_file("f", mtime=5)), layer(a_file("g", mtime=6))]), {1: 99})
    assert [entry.mtime for path in (b"f", b"g") if (entry := dated.lookup(path))] == [5, 99]
    assert dated.lookup(b"h") is None
    assert list(dated.children(b"")) == [b"f", b"g"]
