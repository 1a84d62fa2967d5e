"""Zip archives as contexts: what every tool writes, and what somebody hostile does."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import archive

UNIX, DOS = 3, 0


def info(name: str, mode: int = 0, *, system: int = UNIX, extra: bytes = b"") -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, (2024, 3, 1, 12, 0, 0))
    made.create_system, made.external_attr, made.extra = system, mode << 16 | 0x20, extra
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], **more: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **more) as made:  # type: ignore[call-overload]
        for name, content in members:
            made.writestr(name if isinstance(name, zipfile.ZipInfo) else info(name), content)
    return out.getvalue()


def unpack(data: bytes, tmp_path: Path, limit: int = 1 << 30) -> Path:
    return archive.unpack(io.BytesIO(data), tmp_path / "out", limit=limit, name="a.zip")


def refused(data: bytes, tmp_path: Path, match: str, kind: type[errors.BuildError] = errors.LayerError) -> None:
    with pytest.raises(kind, match=match) as caught:
        unpack(data, tmp_path)
    assert "a.zip" in caught.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_every_method_gives_the_content_whatever_its_size(tmp_path, method, size):
    content = os.urandom(1000) * (size // 1000) + b"x" * (size % 1000)
    made = info("dir/f")
    made.compress_type = method
    assert (unpack(zipped((made, content)), tmp_path) / "dir/f").read_bytes() == content


def test_data_descriptors_and_a_stream_that_cannot_seek(tmp_path):
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as made:  # type: ignore[arg-type]
        made.writestr(info("f"), b"content" * 100)
    assert pipe.data[6] & 8, "a data descriptor"
    assert (unpack(pipe.data, tmp_path) / "f").read_bytes() == b"content" * 100


def test_zip64_in_every_record(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made, made.open(info("f"), "w", force_zip64=True) as file:
        file.write(b"content")
    data = _with_zip64_end(out.getvalue())
    assert (unpack(data, tmp_path) / "f").read_bytes() == b"content"


def _with_zip64_end(data: bytes) -> bytes:
    """The end record's values moved to a zip64 end, and the one entry's to its zip64 field."""
    at = data.rindex(b"PK\x05\x06")
    _, _, _, here, count, size, start, _ = struct.unpack_from("<4s4H2LH", data, at)
    central = bytearray(data[start : start + size])
    stored, plain = struct.unpack_from("<2L", central, 20)
    field = struct.pack("<2H3Q", 1, 24, plain, stored, struct.unpack_from("<L", central, 42)[0])
    name_length, extra_length = struct.unpack_from("<2H", central, 28)
    struct.pack_into("<2L", central, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<L", central, 42, 0xFFFFFFFF)
    struct.pack_into("<H", central, 30, len(field))
    body = bytes(central[: 46 + name_length]) + field + bytes(central[46 + name_length + extra_length :])
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, here, count, len(body), start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + len(body), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:start] + body + end64 + locator + end


@pytest.mark.parametrize(
    ("mode", "system", "expected"),
    [
        (0o100755, UNIX, 0o755),
        (0o100640, UNIX, 0o640),
        (0o600, UNIX, 0o600),
        (0o104755, UNIX, 0o4755),
        (0o100044, UNIX, 0o444),
        (0, UNIX, 0o644),
        (0o100700, DOS, 0o644),
    ],
    ids=oct,
)
def test_modes_are_those_of_unix_archives(tmp_path, mode, system, expected):
    found = unpack(zipped((info("f", mode, system=system), b"")), tmp_path) / "f"
    assert stat.S_IMODE(found.stat().st_mode) == expected


def test_folders_have_their_modes_and_times(tmp_path):
    stamp = struct.pack("<2HBl", 0x5455, 5, 1, 86_400)
    out = unpack(
        zipped((info("d/", 0o40700, extra=stamp), b""), (info("d/f", extra=stamp), b"x"), ("e/", b"")), tmp_path
    )
    assert stat.S_IMODE((out / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((out / "e").stat().st_mode) == 0o755
    assert (out / "d").stat().st_mtime == (out / "d/f").stat().st_mtime == 86_400


def test_times_without_a_zone_mean_the_same_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert (unpack(zipped(("f", b"")), tmp_path) / "f").stat().st_mtime == 1_709_294_400


def test_links_keep_their_text_and_nothing_is_written_through_one(tmp_path):
    out = unpack(zipped((info("l", 0o120777), b"../../etc/passwd"), ("f", b"x")), tmp_path)
    assert os.readlink(out / "l") == "../../etc/passwd"
    with pytest.raises(errors.LayerError, match="no directory"):
        archive.unpack(
            io.BytesIO(zipped((info("l", 0o120777), os.fsencode(tmp_path)), ("l/f", b"x"))), tmp_path / "other"
        )
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("raw", "flags", "system", "extra", "expected"),
    [
        ("ä".encode(), 0x800, UNIX, b"", "ä"),
        ("ä".encode(), 0, UNIX, b"", "ä"),
        (b"\x84", 0, DOS, b"", "ä"),
        (b"x", 0, DOS, struct.pack("<2HBL", 0x7075, 7, 1, zlib.crc32(b"x")) + "ä".encode(), "ä"),
        (b"x", 0, DOS, struct.pack("<2HBL", 0x7075, 7, 1, 0) + "ä".encode(), "x"),
        (b"a\\b", 0, DOS, b"", "a/b"),
        (b"a\\b", 0, UNIX, b"", "a\\b"),
        (b"/a//./b", 0, UNIX, b"", "a/b"),
    ],
)
def test_names_in_every_encoding(tmp_path, raw, flags, system, extra, expected):
    data = zipped((info("N" * len(raw), system=system, extra=extra), b"x")).replace(b"N" * len(raw), raw)
    central = data.index(b"PK\x01\x02")
    data = data[: central + 8] + struct.pack("<H", flags) + data[central + 10 :]
    assert (unpack(data, tmp_path) / expected).read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../f", "a/../../f", "a/..", "..\\f"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    refused(zipped((info(name, system=DOS if "\\" in name else UNIX), b"x")), tmp_path, "leads out")


def test_a_bomb_ends_at_the_limit_before_it_is_written(tmp_path):
    data = zipped(("bomb", bytes(20_000_000)))
    with pytest.raises(errors.InvalidSpec, match="larger than"):
        unpack(data, tmp_path, limit=1_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= 1_000_000


def test_a_bomb_that_lies_about_its_size_ends_where_it_lies(tmp_path):
    data = zipped(("bomb", bytes(20_000_000)))
    central = data.index(b"PK\x01\x02")
    lying = data[: central + 24] + struct.pack("<L", 1000) + data[central + 28 :]
    refused(lying, tmp_path, "not what the archive's directory says")
    assert (tmp_path / "out/bomb").stat().st_size <= 1000


def test_the_archive_itself_counts(tmp_path):
    with pytest.raises(errors.InvalidSpec, match="larger than"):
        unpack(zipped(("f", os.urandom(100_000))), tmp_path, limit=50_000)


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_what_no_context_can_hold_is_refused_by_name(tmp_path, kind):
    refused(zipped((info("odd", kind | 0o644), b"")), tmp_path, "odd")


@pytest.mark.parametrize("content", [b"", b"x" * 5000, b"a\0b"])
def test_links_that_cannot_be_made_are_refused(tmp_path, content):
    refused(zipped((info("l", 0o120777), content)), tmp_path, "symlink")


def patched(data: bytes, offset: int, form: str, value: int) -> bytes:
    """With one field of the first central record replaced."""
    at = data.index(b"PK\x01\x02") + offset
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


PLAIN = zipped(("f", b"content" * 50))


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2001])
def test_an_encrypted_archive_is_refused_with_what_to_do(tmp_path, flag):
    refused(patched(PLAIN, 8, "<H", flag), tmp_path, "encrypted", errors.NotSupported)


@pytest.mark.parametrize(("method", "name"), [(14, "LZMA"), (9, "Deflate64"), (99, "AES"), (77, "method 77")])
def test_an_unknown_method_is_refused_by_its_name(tmp_path, method, name):
    data = patched(PLAIN, 10, "<H", method)
    refused(data[:8] + struct.pack("<H", method) + data[10:], tmp_path, name, errors.NotSupported)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PLAIN[:-1], id="cut in the end record"),
        pytest.param(PLAIN[:-30], id="cut in the directory"),
        pytest.param(PLAIN[:10], id="cut in the first header"),
        pytest.param(PLAIN[: PLAIN.index(b"PK\x01\x02")] + PLAIN[PLAIN.index(b"PK\x05\x06") :], id="no directory"),
        pytest.param(patched(PLAIN, 16, "<L", 1), id="another checksum"),
        pytest.param(patched(PLAIN, 24, "<L", 351), id="a larger size"),
        pytest.param(patched(PLAIN, 20, "<L", 3), id="fewer stored bytes"),
        pytest.param(patched(PLAIN, 42, "<L", 7), id="another place"),
        pytest.param(patched(PLAIN, 42, "<L", 0xFFFFFFF0), id="a place outside"),
        pytest.param(patched(PLAIN, 10, "<H", 0), id="another method"),
        pytest.param(patched(PLAIN, 28, "<H", 0xFFFF), id="a name without end"),
        pytest.param(b"PK\x03\x04" * 40, id="headers alone"),
        pytest.param(PLAIN[:32] + bytes(4) + PLAIN[36:], id="another content"),
    ],
)
def test_a_damaged_archive_is_told_and_never_half_a_success(tmp_path, data):
    refused(data, tmp_path, r".")


@pytest.mark.parametrize("place", [2**63, 2**64 - 1, 2**40])
def test_a_place_beyond_every_file_is_told(tmp_path, place):
    wide = info("f", extra=struct.pack("<2HQ", 1, 8, place))
    refused(patched(zipped((wide, b"x")), 42, "<L", 0xFFFFFFFF), tmp_path, "outside of the archive")


def test_one_part_of_several_is_refused_by_name(tmp_path):
    at = PLAIN.rindex(b"PK\x05\x06")
    refused(PLAIN[: at + 4] + b"\1\0" + PLAIN[at + 6 :], tmp_path, "split", errors.NotSupported)


def test_a_comment_may_look_like_an_end(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(info("f"), b"x")
        made.comment = b"PK\x05\x06" + bytes(30)
    assert (unpack(out.getvalue(), tmp_path) / "f").read_bytes() == b"x"


def test_of_two_of_a_name_the_later_counts(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        data = zipped(("f", b"1"), ("f", b"2"))
    assert (unpack(data, tmp_path) / "f").read_bytes() == b"2"


def test_an_empty_archive_is_an_empty_context(tmp_path):
    assert list(unpack(zipped(), tmp_path).iterdir()) == []


def test_a_zip_on_a_pipe_is_known_by_its_beginning(tmp_path):
    found = archive.read_pipe(io.BytesIO(zipped(("Dockerfile", b"FROM scratch\n"))), tmp_path / "out")
    assert isinstance(found, Path)
    assert (found / "Dockerfile").read_bytes() == b"FROM scratch\n"
