"""The corpus' format: what a file says becomes a case, and what it gets wrong is told with its line."""

from __future__ import annotations

import io
import tarfile

import pytest

from differential.builds import cases, folders
from differential.builds.cases import Entry
from support.file_server import Answer


def entries(text: str) -> dict[str, Entry]:
    return {entry.name: entry for entry in cases.parse("x", f"-- Dockerfile --\nFROM scratch\n{text}").entries}


def test_settings_stand_before_the_first_entry() -> None:
    case = cases.parse("x", "# about\n\ntarget: a\narg: A=1: 2\narg: B=\n-- Dockerfile --\nFROM scratch\n")
    assert case.settings == (("target", "a"), ("arg", "A=1: 2"), ("arg", "B="))
    assert (case.setting("target"), case.setting("arg"), case.setting("label")) == ("a", "B=", None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("f", Entry("f", b"text\n")),
        ("d/ mode=0700 owner=1:2", Entry("d/", b"text\n", mode=0o700, owner=(1, 2))),
        ("d/", Entry("d/", b"text\n", mode=0o755)),
        ("l -> a", Entry("l", b"text\n", symlink="a")),
        ("h => a", Entry("h", b"text\n", hardlink="a")),
        ("'a b'", Entry("a b", b"text\n")),
        ("a%0Ab%FF", Entry("a\nb\udcff", b"text\n")),
        ("f as=line", Entry("f", b"text")),
        ("f time=5 xattr.user.a=00ff", Entry("f", b"text\n", time=5, xattrs={"user.a": b"\0\xff"})),
        ("f header.Content-Type='text/x y'", Entry("f", b"text\n", headers={"Content-Type": "text/x y"})),
    ],
)
def test_an_entry_is_what_its_line_says(line: str, expected: Entry) -> None:
    assert entries(f"-- {line} --\ntext\n")[expected.name] == expected


def test_escapes_join_the_lines() -> None:
    assert entries("-- f as=escaped --\n\\xEF\\r\\n\na\\\\\\t\n")["f"].content == b"\xef\r\na\\\t"


def test_zeros_are_counted() -> None:
    assert entries("-- f as=zeros --\n1000\n")["f"].content == bytes(1000)


def test_the_last_entry_may_lack_a_newline() -> None:
    assert entries("-- f --\ntext")["f"].content == b"text\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM scratch\n", "x: no entry"),
        ("-- a --\n", "x: no entry '-- Dockerfile --'"),
        ("file: B\n-- Dockerfile --\n", "x: no entry '-- B --'"),
        ("targte: a\n-- Dockerfile --\n", "x:1: 'targte: a' is no setting"),
        ("-- Dockerfile --\n-- f mdoe=0600 --\n", "x:2: unknown key 'mdoe'"),
        ("-- Dockerfile --\n-- f as=taar --\n", "x:2: as=taar"),
        ("-- Dockerfile --\n-- f packed=zip --\n", "x:2: packed=zip"),
        ("-- Dockerfile --\n-- a b --\n", "x:2: a name, 'a -> b' or 'a => b'"),
    ],
)
def test_what_is_written_wrongly_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(cases.CaseError, match="^" + said.replace("|", "\\|")):
        cases.parse("x", text)


def test_an_archive_is_made_of_its_members() -> None:
    text = "-- Dockerfile --\n-- t as=tar packed=gzip --\n-- t//d/ owner=3:4 --\n-- t//d/f mode=0600 --\nf\n-- t//l -> d/f --\n"
    case = cases.parse("x", text)
    with tarfile.open(fileobj=io.BytesIO(folders.content(case, case.entries[1]))) as tar:
        members = [(m.name, m.mode, m.uid, m.linkname, m.mtime) for m in tar]
    assert members == [
        ("d", 0o755, 3, "", 1_000_000_000),
        ("d/f", 0o600, 0, "", 1_000_000_000),
        ("l", 0o644, 0, "d/f", 1_000_000_000),
    ]
    assert [entry.name for entry in folders.disk_entries(case)] == ["Dockerfile", "t"]


def test_a_cut_file_is_cut_after_it_was_packed() -> None:
    case = cases.parse("x", "-- Dockerfile --\n-- f packed=gzip cut=9 --\ntext\n")
    assert folders.content(case, case.entries[1])[:2] == b"\x1f\x8b"
    assert len(folders.content(case, case.entries[1])) == 9


def test_remote_files_are_served_with_their_headers() -> None:
    case = cases.parse("x", "-- Dockerfile --\n-- http://files/d/f header.X=y status=302 --\ntext\n")
    assert folders.served(case) == {"/d/f": Answer(b"text\n", 302, {"X": "y"})}
    assert [entry.name for entry in folders.disk_entries(case)] == ["Dockerfile"]
