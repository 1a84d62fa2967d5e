"""ADD: what counts as an archive, what it keeps, and that none of it lands outside the destination."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile

import pytest

from support.strata_build import Builder

pytestmark = pytest.mark.root

TREE = ["d 0750 77:78 {0}/d1", "f 0640 77:78 {0}/d1/f", "h {0}/hl -> {0}/d1/f", "l {0}/ln -> d1/f"]
TEXT = {
    "x.tar.gz": b"not a tar",
    "p.gz": gzip.compress(b"plain text"),
    "e.tar": b"",
    "j.zip": b"PK\x05\x06" + bytes(18),
}


def _tar(*members: tuple[str, bytes, int, bytes | str]) -> bytes:
    """(name, type, mode, content or link target), owned by 77:78."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, mode, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.uid, member.gid, member.mtime = kind, mode, 77, 78, 1_000_000_000
            if isinstance(content, str):
                member.linkname, content = content, b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = _tar(
    ("d1", tarfile.DIRTYPE, 0o750, b""),
    ("d1/f", tarfile.REGTYPE, 0o640, b"f"),
    ("ln", tarfile.SYMTYPE, 0o777, "d1/f"),
    ("hl", tarfile.LNKTYPE, 0o640, "d1/f"),
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tar", ARCHIVE),
        ("b.dat", gzip.compress(ARCHIVE)),
        ("c.tar.xz", lzma.compress(ARCHIVE)),
        ("d.bz2", bz2.compress(ARCHIVE)),
    ],
)
def test_an_archive_is_known_by_its_content_and_keeps_what_it_says(builder: Builder, name: str, content: bytes) -> None:
    image = builder.make(f"FROM testbase\nUSER app\nADD {name} /o\n", {name: content})
    listed = image.listed("o")
    assert listed[0] == "d 0755 0:0 o"
    linked = [line for line in listed[1:] if not line.startswith("h ")]
    assert linked == [line.format("o") for line in TREE if not line.startswith("h ")]
    assert image.read("o/hl") == "f"


def test_chown_of_an_archive_reaches_all_of_it(builder: Builder) -> None:
    image = builder.make("FROM testbase\nADD --chown=5:6 t.tar /o5/\n", {"t.tar": ARCHIVE})
    assert [line for line in image.listed("o5") if line[0] in "df"] == [
        "d 0755 5:6 o5",
        "d 0750 5:6 o5/d1",
        "f 0640 5:6 o5/d1/f",
    ]


def test_what_is_no_archive_and_what_copy_brings_stays_a_file(builder: Builder) -> None:
    image = builder.make(f"FROM scratch\nADD {' '.join(TEXT)} /o6/\nCOPY t.tar /o7/\n", {**TEXT, "t.tar": ARCHIVE})
    files = image.files()
    assert {name: files[f"o6/{name}"].content for name in TEXT} == TEXT
    assert files["o7/t.tar"].content == ARCHIVE


def test_half_an_archive_is_an_error(builder: Builder) -> None:
    whole = gzip.compress(_tar(("big", tarfile.REGTYPE, 0o644, os.urandom(150_000))))
    fault = builder.fault("FROM testbase\nADD cut.tar.gz /z/\n", {"cut.tar.gz": whole[: len(whole) // 2]})
    assert "cut.tar.gz" in fault


OUTSIDE = {
    "up": _tar(("../evil", tarfile.REGTYPE, 0o644, b"e"), ("ok", tarfile.REGTYPE, 0o644, b"o")),
    "link": _tar(("lnk", tarfile.SYMTYPE, 0o777, "/etc"), ("lnk/evil", tarfile.REGTYPE, 0o644, b"e")),
    "absolute": _tar(("/abs/f", tarfile.REGTYPE, 0o644, b"a"), ("./dot/f", tarfile.REGTYPE, 0o644, b"d")),
}


@pytest.mark.parametrize("name", ["up", "link"])
def test_an_archive_cannot_write_outside_its_destination(builder: Builder, name: str) -> None:
    context = builder.context({"e.tar": OUTSIDE[name]}, "FROM testbase\nADD e.tar /t/\n")
    archive = builder.folder / f"{name}.tar"
    ended = builder.run(context, "-o", f"type=oci,dest={archive}")
    if ended.returncode == 0:
        files = builder.build(context).files()
        assert "evil" not in files
        assert "etc/evil" not in files
    else:
        assert "e.tar" in ended.stderr
    assert not os.path.lexists("/evil")
    assert not os.path.lexists("/etc/evil")


def test_absolute_and_dotted_names_in_an_archive_lie_below_the_destination(builder: Builder) -> None:
    image = builder.make("FROM testbase\nADD e.tar /t/\n", {"e.tar": OUTSIDE["absolute"]})
    assert (image.read("t/abs/f"), image.read("t/dot/f")) == ("a", "d")


def test_several_archives_in_one_step_are_unpacked_each(builder: Builder) -> None:
    one, two = _tar(("one", tarfile.REGTYPE, 0o644, b"1")), _tar(("two", tarfile.REGTYPE, 0o644, b"22"))
    image = builder.make("FROM scratch\nADD *.tar /o/\n", {"a.tar": one, "b.tar": two})
    assert (image.read("o/one"), image.read("o/two")) == ("1", "22")


def test_directories_that_an_archive_leaves_out_are_roots(builder: Builder) -> None:
    archive = _tar(("a/f", tarfile.REGTYPE, 0o600, b"f"))
    image = builder.make("FROM scratch\nADD --chown=7:8 t.tar /o\n", {"t.tar": archive})
    assert image.listed() == ["d 0755 7:8 o", "d 0755 0:0 o/a", "f 0600 7:8 o/a/f"]
