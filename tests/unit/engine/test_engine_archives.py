"""What ADD takes for an archive's end."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context import memory
from strata_builder.engine import archives, selecting
from support.engine_build import Engine

ADD = df.parse(b"FROM scratch\nADD t /\n").stages[0].instructions[0]
BOTH = 2 * 1024  # bytes of two members: each a header and a block


def members() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"xyz"))
    return buffer.getvalue()


def unpacked(content: bytes, scratch: Path) -> list[bytes] | None:
    tree = memory.MemoryTree({b"t": content})
    (source,) = selecting.select(tree, "t", where="the context")
    found = archives.Opener(ADD, scratch)(source)
    return None if found is None else [item.entry.path for item in found]


@pytest.mark.parametrize("end", [BOTH, BOTH + 512, BOTH + 1024, BOTH + 1023])
@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_may_end_after_any_whole_member(tmp_path: Path, end: int, packed: bool) -> None:
    content = members()[:end]
    assert unpacked(gzip.compress(content) if packed else content, tmp_path) == [b"a", b"b"]


@pytest.mark.parametrize("end", [BOTH - 1, BOTH - 512, BOTH - 600, 1024 + 1])
@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_that_ends_within_a_member_is_refused(tmp_path: Path, end: int, packed: bool) -> None:
    content = members()[:end]
    with pytest.raises(errors.LayerError, match="the archive 't'"):
        unpacked(gzip.compress(content) if packed else content, tmp_path)


def test_a_packed_archive_that_is_cut_is_refused_wherever(tmp_path: Path) -> None:
    content = gzip.compress(members())
    with pytest.raises(errors.LayerError, match="the archive 't'"):
        unpacked(content[:-9], tmp_path)


#: What lies below, the archive, its destination, and the files that this adds: a name that ends with / is a directory, `a->b`
#: and `a=>b` are links.
THROUGH = {
    "a link below": ("usr/lib/ lib->usr/lib", "lib/x", "/", ["f usr/lib/x"]),
    "further names": (
        "usr/lib/ lib->usr/lib",
        "lib/x lib/y=>lib/x y=>lib/x",
        "/",
        ["f usr/lib/x", "h usr/lib/y", "h y"],
    ),
    "links to links": ("u/ b->u a->/b", "a/x a/d/y", "/", ["f u/d/y", "f u/x"]),
    "up and out": ("up->../../..", "up/x", "/", ["f x"]),
    "an absolute link stays in the destination": ("d/l->/e d/e/ e/", "l/x", "/d", ["f d/e/x"]),
    "one that goes up does, too": ("d/l->../e d/e/ e/", "l/x", "/d", ["f d/e/x"]),
    "its own directory takes the link's place": ("usr/lib/ lib->usr/lib", "lib/ lib/x", "/", ["f lib/x"]),
    "a file takes the link's place": ("usr/lib/ lib->usr/lib", "lib", "/", ["f lib"]),
}


def tar(members: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for word in members.split():
            name, hard, target = word.partition("=>")
            name, soft, text = name.partition("->")
            member = tarfile.TarInfo(name.rstrip("/"))
            member.linkname = target or text
            member.type = tarfile.LNKTYPE if hard else tarfile.SYMTYPE if soft else tarfile.REGTYPE
            if name.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            made.addfile(member)
    return buffer.getvalue()


@pytest.mark.parametrize("case", THROUGH)
def test_what_has_no_directory_in_the_archive_goes_through_links_that_are_there(tmp_path: Path, case: str) -> None:
    below, archive, dest, added = THROUGH[case]
    context = memory.MemoryTree({b"below": tar(below), b"it": tar(archive)})
    built = Engine(tmp_path).build(f"FROM scratch\nADD below /\nADD it {dest}\n", context)
    kinds = {"FILE": "f", "HARDLINK": "h"}
    assert [f"{kinds[e.kind.name]} {e.path.decode()}" for e in built.layers[-1] if e.kind.name in kinds] == added


@pytest.mark.parametrize(
    ("below", "archive", "dest"),
    [
        ("lib->usr/lib", "lib/x", "/"),
        ("lib->usr/lib", "lib/y/x", "/"),
        ("d/l->/e e/", "l/x", "/d"),
        ("d/l->../e e/", "l/x", "/d"),
    ],
)
def test_an_archive_goes_through_no_link_to_what_is_not_in_the_destination(
    tmp_path: Path, below: str, archive: str, dest: str
) -> None:
    context = memory.MemoryTree({b"below": tar(below), b"it": tar(archive)})
    with pytest.raises(errors.LayerError, match="symbolic link"):
        Engine(tmp_path).build(f"FROM scratch\nADD below /\nADD it {dest}\n", context)


def test_an_archive_may_be_deeper_than_the_stack(tmp_path: Path) -> None:
    deep = "l/" + "d/" * 1500
    context = memory.MemoryTree({b"below": tar("u/ l->u"), b"it": tar(deep + "x")})
    built = Engine(tmp_path).build("FROM scratch\nADD below /\nADD it /\n", context)
    assert [e.path for e in built.layers[-1] if e.kind.name == "FILE"] == [f"u/{deep[2:]}x".encode()]


def test_two_archives_of_one_step_are_as_one_after_the_other(tmp_path: Path) -> None:
    context = memory.MemoryTree({b"1": tar("u/lib/ lib->u/lib u/lib/x/ u/lib/x/y"), b"2": tar("lib/x lib/z")})
    built = Engine(tmp_path).build("FROM scratch\nADD 1 2 /\n", context)
    assert [entry.path for entry in built.layers[0] if entry.kind.name == "FILE"] == [b"u/lib/x", b"u/lib/z"]


def test_an_archive_goes_through_no_link_of_its_own(tmp_path: Path) -> None:
    context = memory.MemoryTree({b"it": tar("l->/etc l/x")})
    with pytest.raises(errors.LayerError, match="symbolic link"):
        Engine(tmp_path).build("FROM scratch\nADD it /\n", context)
