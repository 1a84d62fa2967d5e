"""Files with several names: one file in the layer wherever COPY and ADD take both names, and nowhere else."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import folder
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.engine import exporting, selecting
from support.engine_build import Built, Engine, written

LINKED = {"d/b": "same", "d/c => d/b": "", "d/a/x => d/b": "", "other": "same", "out => d/b": ""}


def build(tmp_path: Path, dockerfile: str, ignore: str = "", files: dict[str, str | bytes] | None = None) -> Built:
    root = written(tmp_path / "context", LINKED if files is None else files)  # type: ignore[arg-type]
    return Engine(tmp_path).build(dockerfile, folder.FolderTree(root, IgnoreRules.parse(ignore.encode())))


@pytest.mark.parametrize(
    ("copy", "ignore", "layer"),
    [
        ("COPY d /o", "", ["d 0755 0:0 o", "d 0755 0:0 o/a", "f 0644 0:0 o/a/x", "h o/b -> o/a/x", "h o/c -> o/a/x"]),
        ("COPY d /o", "d/a", ["d 0755 0:0 o", "f 0644 0:0 o/b", "h o/c -> o/b"]),
        ("COPY d /o", "d/a\nd/b", ["d 0755 0:0 o", "f 0644 0:0 o/c"]),
        ("COPY --exclude=a --exclude=b d /o", "", ["d 0755 0:0 o", "f 0644 0:0 o/c"]),
        ("COPY --chown=1:2 --chmod=600 --exclude=a d /o/", "", ["d 0600 1:2 o", "f 0600 1:2 o/b", "h o/c -> o/b"]),
        ("COPY d/b d/c /o/", "", ["d 0755 0:0 o", "f 0644 0:0 o/b", "f 0644 0:0 o/c"]),
        ("COPY d/[bc] /o/", "", ["d 0755 0:0 o", "f 0644 0:0 o/b", "f 0644 0:0 o/c"]),
        ("COPY out other /o/", "", ["d 0755 0:0 o", "f 0644 0:0 o/other", "f 0644 0:0 o/out"]),
        ("ADD --exclude=a d /o", "", ["d 0755 0:0 o", "f 0644 0:0 o/b", "h o/c -> o/b"]),
    ],
)
def test_names_that_one_source_brings_are_one_file(tmp_path: Path, copy: str, ignore: str, layer: list[str]) -> None:
    assert build(tmp_path, f"FROM scratch\n{copy}\n", ignore).texts() == layer


def test_a_copy_of_a_stage_keeps_them_and_one_of_a_single_name_does_not(tmp_path: Path) -> None:
    both = build(tmp_path, "FROM scratch AS s\nCOPY d /o\nFROM scratch\nCOPY --from=s /o/ /p\nCOPY --from=s /o/c /q\n")
    assert both.texts(0)[2:] == ["f 0644 0:0 p/a/x", "h p/b -> p/a/x", "h p/c -> p/a/x"]
    assert both.texts(1) == ["f 0644 0:0 q"]


def test_a_name_that_another_source_takes_leaves_the_file_to_the_rest(tmp_path: Path) -> None:
    files = {"1/a": "one", "1/b => 1/a": "", "1/c => 1/a": "", "2/a": "two", "2/d => 2/a": ""}
    built = build(tmp_path, "FROM scratch\nCOPY 1 2 /o/\n", files=files)  # type: ignore[arg-type]
    assert built.texts() == [
        "d 0755 0:0 o",
        "f 0644 0:0 o/a",
        "f 0644 0:0 o/b",
        "h o/c -> o/b",
        "h o/d -> o/a",
    ]
    sizes = {entry.path: entry.digest for entry in built.layers[0]}
    assert sizes[b"o/a"] == sizes[b"o/d"] != sizes[b"o/b"] == sizes[b"o/c"]


def test_the_name_that_was_there_first_does_not_matter(tmp_path: Path) -> None:
    orders = ({"d/b": "s", "d/a => d/b": ""}, {"d/a": "s", "d/b => d/a": ""})
    made = [build(tmp_path / str(n), "FROM scratch\nCOPY . /o/\n", files=files) for n, files in enumerate(orders)]  # type: ignore[arg-type]
    assert made[0].image.digest == made[1].image.digest


def test_equal_files_and_one_file_with_two_names_have_different_keys(tmp_path: Path) -> None:
    engine, lines = Engine(tmp_path), "FROM scratch\nCOPY . /o/\nCOPY a /x\n"
    apart = written(tmp_path / "apart", {"a": "s", "b": "s"})
    linked = written(tmp_path / "linked", {"a": "s", "b => a": ""})
    found = [engine.build(lines, folder.FolderTree(root)) for root in (apart, linked, apart, linked)]
    assert [built.found for built in found] == ["MM", "MH", "HH", "HH"]
    assert found[0].image.digest == found[2].image.digest != found[1].image.digest == found[3].image.digest


def test_a_bind_mount_shows_one_file(tmp_path: Path) -> None:
    tree = folder.FolderTree(written(tmp_path / "context", LINKED))
    with exporting.exported(tree, "d", "the context", tmp_path) as shown:
        assert {os.stat(shown / name).st_ino for name in ("a/x", "b", "c")} == {os.stat(shown / "b").st_ino}
        assert os.stat(shown / "b").st_nlink == 3


def test_only_names_within_the_source_are_links_and_to_the_first(tmp_path: Path) -> None:
    tree = folder.FolderTree(written(tmp_path / "context", LINKED))
    (source,) = selecting.select(tree, "d", where="the context")
    found = {below: entry.link for below, _, entry in selecting.contents(source, selecting.excludes(()))}
    assert found == {b"a": b"", b"a/x": b"", b"b": b"a/x", b"c": b"a/x"}


def archive(*members: tuple[str, bytes, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mtime = kind, 5
            if isinstance(content, str):
                member.linkname, content = content, b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


FILE, HARD, SOFT = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE


@pytest.mark.parametrize(
    ("members", "layer"),
    [
        ([("b", FILE, b"x"), ("a", HARD, "b")], ["f 0644 0:0 o/a", "h o/b -> o/a"]),
        ([("a", FILE, b"x"), ("b", HARD, "a"), ("c", HARD, "b")], ["f 0644 0:0 o/a", "h o/b -> o/a", "h o/c -> o/a"]),
        ([("a", FILE, b"x"), ("b", HARD, "a"), ("a", FILE, b"yy")], ["f 0644 0:0 o/a", "f 0644 0:0 o/b"]),
        ([("l", SOFT, "t"), ("m", HARD, "l")], ["l o/l -> t", "l o/m -> t"]),
    ],
    ids=["the later name first", "a link to a link", "the first name replaced", "a link to a symbolic link"],
)
def test_links_of_an_archive_name_what_was_there_then(
    tmp_path: Path, members: list[tuple[str, bytes, bytes | str]], layer: list[str]
) -> None:
    built = build(tmp_path, "FROM scratch\nADD t.tar /o/\n", files={"t.tar": archive(*members)})
    assert built.texts()[1:] == layer
    assert {entry.size for entry in built.layers[0] if entry.path == b"o/b"} <= {1}


def test_a_link_of_an_archive_to_nothing_is_an_error_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(errors.LayerError, match=r"the archive 't.tar': '?/?b'? is a hard link to '?/?none"):
        build(tmp_path, "FROM scratch\nADD t.tar /o/\n", files={"t.tar": archive(("b", HARD, "none"))})
