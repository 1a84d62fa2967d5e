"""Reading tars of every make, and refusing those that lie."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from strata_builder import contents, errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import decompress, files, index, indexfile, unpack
from strata_builder.layers.source import Limits
from support import tars
from support.layertrees import file, folder, hard, packed


def read(data: bytes, **options: object) -> list[tuple[Entry, bytes]]:
    found = unpack.read_layer(io.BytesIO(data), "", **options)  # type: ignore[arg-type]
    return [(entry, content.read() or b"") for entry, content in found]


def names(data: bytes) -> list[bytes]:
    return [entry.path for entry, _ in read(data)]


def zstd_with_checksum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


SIMPLE = tars.member(b"a", b"content") + tars.END


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        gzip.compress,
        zstd.compress,
        bz2.compress,
        lzma.compress,
        lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
        lambda data: gzip.compress(data) + bytes(512),
        lambda data: zstd.compress(data[:700]) + zstd.compress(data[700:]),
        lambda data: b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd.compress(data),
    ],
    ids=["plain", "gzip", "zstd", "bzip2", "xz", "gzip members", "gzip and zeros", "zstd frames", "skippable frame"],
)
def test_every_compression_is_told_by_its_bytes(wrap: Callable[[bytes], bytes]) -> None:
    assert [(entry.path, content) for entry, content in read(wrap(SIMPLE))] == [(b"a", b"content")]


@pytest.mark.parametrize("compress", [gzip.compress, zstd_with_checksum, bz2.compress, lzma.compress])
def test_compressed_data_that_is_cut_or_damaged_is_refused(compress: Callable[[bytes], bytes]) -> None:
    data = compress(tars.member(b"a", random.Random(0).randbytes(5000)) + tars.END)
    for bad in (data[:-1], data[: len(data) // 2], data[:3000] + bytes([data[3000] ^ 0xFF]) + data[3001:]):
        with pytest.raises(errors.LayerError):
            read(bad)


def test_something_else_after_a_gzip_member_is_refused() -> None:
    with pytest.raises(errors.LayerError, match="something that is not gzip follows"):
        read(gzip.compress(SIMPLE) + b"trailing")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_names_owners_and_links_of_tarfile_are_read(form: int) -> None:
    long = "d/" * 60 + "n" * 150
    data = tars.made_by_tarfile(
        ({"name": long, "uid": 3_000_000, "gid": 2**31, "mode": 0o4755, "mtime": 7}, b"x"),
        ({"name": "l", "type": tarfile.SYMTYPE, "linkname": "t" * 200}, b""),
        ({"name": "é\udcff", "mtime": 2**34}, b""),
        form=form,
    )
    (first, content), (symlink, _), (odd, _) = read(data)
    assert (first.path, first.uid, first.gid, first.mode, first.mtime, content) == (
        long.encode(),
        3_000_000,
        2**31,
        0o4755,
        7,
        b"x",
    )
    assert (symlink.kind, symlink.link) == (Kind.SYMLINK, b"t" * 200)
    assert (odd.path, odd.mtime) == ("é".encode() + b"\xff", 2**34)


def test_a_tar_of_unix_v7_is_read() -> None:
    data = tars.member(b"d/", b"", b"\0", magic=b"") + tars.member(b"d/f", b"x", b"\0", magic=b"") + tars.END
    assert [(entry.path, entry.kind) for entry, _ in read(data)] == [(b"d", Kind.DIR), (b"d/f", Kind.FILE)]


def test_names_are_normalised_and_confined() -> None:
    data = b"".join(tars.member(name) for name in (b"./dot/f", b"/abs/f", b"../evil", b"a/../../b")) + tars.END
    assert names(data) == [b"dot/f", b"abs/f", b"evil", b"b"]


def test_a_link_keeps_its_text_and_a_hard_link_names_a_path_of_the_layer() -> None:
    data = (
        tars.member(b"l", b"", b"2", link=b"../../../../etc/x") + tars.member(b"h", b"", b"1", link=b"./a/b") + tars.END
    )
    assert [entry.link for entry, _ in read(data)] == [b"../../../../etc/x", b"a/b"]


def test_pax_records_rule_over_the_header_and_local_ones_over_global_ones() -> None:
    data = (
        tars.pax(b"g", mtime=b"100", uid=b"7", comment=b"from git")
        + tars.pax(path=b"real", mtime=b"5.9", SCHILY__xattr__user__k=b"\0\xff\n")
        + tars.member(b"fallback")
        + tars.member(b"second")
        + tars.pax(mtime=b"-1.5", uid=b"")
        + tars.member(b"third")
        + tars.END
    )
    first, second, third = (entry for entry, _ in read(data))
    assert (first.path, first.mtime, first.uid, first.xattrs) == (b"real", 5, 7, ((b"user.k", b"\0\xff\n"),))
    assert (second.path, second.mtime, second.uid, second.xattrs) == (b"second", 100, 7, ())
    assert (third.mtime, third.uid) == (-2, 0)


def test_bookkeeping_of_overlays_and_labels_of_the_machine_are_dropped() -> None:
    records = {
        "SCHILY__xattr__user__overlay__redirect": b"/etc",
        "SCHILY__xattr__trusted__overlay__opaque": b"y",
        "SCHILY__xattr__security__selinux": b"label",
        "SCHILY__xattr__user__mine": b"1",
    }
    (entry, _), *_ = read(tars.pax(**records) + tars.member(b"f") + tars.END)
    assert entry.xattrs == ((b"user.mine", b"1"),)


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=pax", "--sparse-version=1.0"],
        ["--format=pax", "--sparse-version=0.1"],
        ["--format=pax", "--sparse-version=0.0"],
    ],
)
def test_sparse_files_of_gnu_tar_are_whole(tmp_path: Path, options: list[str]) -> None:
    expected = bytearray(40 << 20)
    with (tmp_path / "sparse").open("wb") as out:
        for at in range(0, 40 << 20, 1 << 20):
            out.seek(at)
            out.write(b"data at %d" % at)
            expected[at : at + 16] = (b"data at %d" % at).ljust(16, b"\0")
        out.truncate(40 << 20)
    (tmp_path / "after").write_bytes(b"still in step")
    command = ["tar", "-cS", *options, "-C", tmp_path, "-f", tmp_path / "tar", "sparse", "after"]
    subprocess.run(command, check=True)  # type: ignore[arg-type]
    assert (tmp_path / "tar").stat().st_size < 1 << 20
    (sparse, content), (after, text) = read((tmp_path / "tar").read_bytes())
    assert (sparse.path, sparse.size) == (b"sparse", 40 << 20)
    assert hashlib.sha256(content).digest() == hashlib.sha256(expected).digest()
    assert (after.path, text) == (b"after", b"still in step")


def test_an_archive_of_gnu_tar_with_everything_is_read(tmp_path: Path) -> None:
    source = tmp_path / "d"
    source.mkdir()
    (source / ("n" * 200)).write_bytes(b"long")
    os.link(source / ("n" * 200), source / "hard")
    (source / "link").symlink_to("x" * 150)
    os.mkfifo(source / "pipe")
    subprocess.run(["tar", "-C", tmp_path, "-cf", tmp_path / "tar", "d"], check=True)
    kinds = {entry.path: entry.kind for entry, _ in read((tmp_path / "tar").read_bytes())}
    assert kinds[b"d"] is Kind.DIR
    assert kinds[b"d/link"] is Kind.SYMLINK
    assert kinds[b"d/pipe"] is Kind.FIFO
    assert {kinds[b"d/hard"], kinds[b"d/" + b"n" * 200]} == {Kind.FILE, Kind.HARDLINK}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tars.member(b"bad", b"x", checksum=b"0000000\0") + tars.END, "checksum"),
        (tars.member(b"good") + tars.member(b"bad", checksum=b"0000000\0") + tars.END, "after entry 'good'"),
        (b"this is no tar at all".ljust(2048, b"!"), "tar header"),
        (tars.block(b"short", size=b"00000004000") + b"only this", "entry 'short': the archive is cut short"),
        (tars.member(b"no-end", b"x"), "after entry 'no-end': the archive is cut short"),
        (tars.member(b"a") + tars.block(b"b")[:300], "after entry 'a'"),
        (tars.member(b"big", size=b"\x80" + b"\x7f" * 11) + tars.END, "'big' has an impossible size"),
        (tars.member(b"neg", size=b"\xff" * 12) + tars.END, "negative size"),
        (tars.member(b"oct", size=b"0000000zzz9") + tars.END, "'size' of the tar header is no number"),
        (tars.member(b"own", uid=b"\x80\0\0\1\0\0\0\0") + tars.END, "entry 'own' has the impossible uid"),
        (tars.member(b"neg", gid=b"\xff" * 8) + tars.END, "impossible gid -1"),
        (tars.member(b"odd", b"", b"M") + tars.END, "entry 'odd' has the type b'M'"),
        (tars.member(b"", b"x") + tars.END, "is the root of the image, but no directory"),
        (tars.member(b"l", b"", b"2") + tars.END, "symbolic link with an empty"),
        (tars.member(b"h", b"", b"1", link=b"./") + tars.END, "hard link to nothing"),
        (tars.member(b"PaxHeaders", b"999 path=x\n", b"x") + tars.member(b"f") + tars.END, "malformed"),
        (tars.member(b"PaxHeaders", b"path=x\n", b"x") + tars.member(b"f") + tars.END, "malformed"),
        (tars.pax(path=b"a\0b") + tars.member(b"f") + tars.END, "NUL"),
        (
            tars.pax(SCHILY__xattr__user__k=b"v", **{"SCHILY__xattr__user__\0": b"v"}) + tars.member(b"f"),
            "entry 'f' has an",
        ),
        (tars.pax(path=b"x/" * 3000) + tars.member(b"f") + tars.END, "longer than a Linux file system takes"),
        (tars.pax(mtime=b"soon") + tars.member(b"f") + tars.END, "entry 'f': the pax record 'mtime' is no number"),
        (tars.pax(size=b"-5") + tars.member(b"f") + tars.END, "'f' has an impossible size"),
        (tars.pax(uid=b"99999999999") + tars.member(b"f") + tars.END, "impossible uid"),
        (tars.pax(path=b"x") + tars.END, "cut short"),
        (tars.member(b"L", b"x" * 300, b"L") + tars.member(b"f") + tars.END, "longer than a Linux file system takes"),
        (
            tars.pax(GNU__sparse__map=b"0,5,3,5", GNU__sparse__size=b"10") + tars.member(b"f", b"x" * 10) + tars.END,
            "overlap",
        ),
        (
            tars.pax(GNU__sparse__map=b"0,5", GNU__sparse__size=b"10") + tars.member(b"f", b"x" * 10) + tars.END,
            "does not fit its size",
        ),
        (
            tars.pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__realsize=b"9")
            + tars.member(b"f", b"999999\n".ljust(512, b"0"))
            + tars.END,
            "cut short",
        ),
    ],
)
def test_a_tar_that_lies_is_refused_with_the_place(data: bytes, said: str) -> None:
    with pytest.raises(errors.LayerError) as caught:
        read(data)
    assert said in str(caught.value)


def test_an_empty_stream_is_a_layer_without_entries() -> None:
    assert read(b"") == []
    assert read(tars.END) == []


def test_a_missing_end_mark_is_forgiven_where_the_diff_id_proves_the_layer_whole() -> None:
    data = tars.member(b"a", b"x")
    proof = "sha256:" + hashlib.sha256(data).hexdigest()
    assert [entry.path for entry, _ in read(data, diff_id=proof)] == [b"a"]


def test_a_wrong_diff_id_is_refused_even_if_only_the_padding_differs() -> None:
    proof = "sha256:" + hashlib.sha256(SIMPLE).hexdigest()
    assert unpack.scan(io.BytesIO(SIMPLE), "", proof).lookup(b"a") is not None
    with pytest.raises(errors.LayerError, match="the image's config says"):
        unpack.scan(io.BytesIO(SIMPLE + bytes(512)), "", proof)


@pytest.mark.parametrize(
    ("data", "limits", "said"),
    [
        (SIMPLE, Limits(total=1000), "larger than 1000 bytes"),
        (gzip.compress(tars.member(b"zeros", bytes(50 << 20)) + tars.END), Limits(total=1 << 20), "larger than"),
        (b"".join(tars.member(b"%d" % n) for n in range(100)) + tars.END, Limits(entries=30), "more than 30 entries"),
        (tars.pax(path=b"x" * 3000) + SIMPLE, Limits(extended=2000), "is too large"),
        (
            b"".join(tars.pax(b"g", **{f"k{n}": b"v" * 100}) for n in range(50)) + SIMPLE,
            Limits(extended=2000),
            "too large",
        ),
        (
            tars.pax(GNU__sparse__map=b"0,1", GNU__sparse__size=b"999999999999") + tars.member(b"f", b"x") + tars.END,
            Limits(total=1 << 30),
            "larger than",
        ),
    ],
)
def test_bombs_stop_at_a_limit(data: bytes, limits: Limits, said: str) -> None:
    with pytest.raises(errors.LayerError, match=said):
        unpack.scan(io.BytesIO(data), limits=limits)


def through(number: int) -> bytes:
    return tars.pax(path=b"%d/" % number + b"d/" * 200 + b"f") + tars.member(b"f")


@pytest.mark.parametrize("limit", ["MAX_ENTRIES", "MAX_ENCODED"])
def test_a_few_names_that_go_through_millions_of_directories_are_refused_before_those_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    data = b"".join(map(through, range(20))) + tars.END
    assert len(unpack.scan(io.BytesIO(data))) == 20
    monkeypatch.setattr(index, limit, {"MAX_ENTRIES": 3000, "MAX_ENCODED": 600_000}[limit])
    with pytest.raises(errors.LayerError, match="too many directories"):
        unpack.scan(io.BytesIO(data))
    with pytest.raises(errors.LayerError, match="too many directories"):
        unpack.unpack_to(io.BytesIO(data), "", tmp_path, overlay=True, owner=unpack.OwnerPolicy.IGNORE)
    assert sum(len(folders) for _, folders, _ in os.walk(tmp_path)) <= 3001


@pytest.mark.parametrize(
    "entry",
    [
        lambda n: tars.pax(SCHILY__xattr__user__k=b"v" * 50_000) + tars.member(b"%d" % n),
        lambda n: tars.pax(linkpath=b"l" * 4000) + tars.member(b"%d" % n, b"", b"2"),
        lambda n: tars.pax(path=b"%d/" % n + b"p/" * 1900) + tars.member(b"x", b"", b"5"),
    ],
)
def test_names_links_and_attributes_are_held_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, entry: Callable[[int], bytes]
) -> None:
    monkeypatch.setattr(index, "MAX_ENCODED", 200_000)
    with pytest.raises(errors.LayerError, match="have more than 0 MiB"):
        unpack.scan(io.BytesIO(b"".join(map(entry, range(60))) + tars.END))


def test_an_encrypted_layer_is_named_as_such() -> None:
    with pytest.raises(errors.LayerError, match="is encrypted"):
        next(iter(unpack.read_layer(io.BytesIO(b""), "application/vnd.oci.image.layer.v1.tar+gzip+encrypted")))


def test_content_that_nobody_reads_is_passed_over() -> None:
    data = tars.member(b"a", b"x" * 5000) + tars.member(b"b", b"y" * 10) + tars.END
    found = unpack.read_layer(io.BytesIO(data))
    assert next(found)[0].path == b"a"
    entry, content = next(found)
    assert (entry.path, content.read(4), content.read()) == (b"b", b"yyyy", b"y" * 6)


def test_whiteouts_and_opaque_markers_go_to_the_index_and_not_among_the_entries() -> None:
    found = (b"d/.wh.gone", b".wh.top", b"d/.wh..wh..opq", b".wh..wh.plnk", b".wh..wh.plnk/12.34", b"d/kept")
    contents = unpack.scan(io.BytesIO(b"".join(map(tars.member, found)) + tars.END))
    assert (list(contents.paths()), contents.whiteouts, contents.opaque) == ([b"d/kept"], (b"d/gone", b"top"), (b"d",))


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b".wh.a/b", b"d/.wh."])
def test_an_invalid_whiteout_is_refused(name: bytes) -> None:
    with pytest.raises(errors.LayerError, match="no valid whiteout"):
        unpack.scan(io.BytesIO(tars.member(name) + tars.END))


def test_of_two_entries_with_one_name_the_last_counts() -> None:
    data = (
        tars.member(b"f", b"old")
        + tars.member(b"f", b"newer")
        + tars.member(b"d/", b"", b"5")
        + tars.member(b"d")
        + tars.END
    )
    contents = unpack.scan(io.BytesIO(data))
    assert [(entry.path, entry.kind, entry.size) for entry in contents] == [(b"d", Kind.FILE, 0), (b"f", Kind.FILE, 5)]


def test_a_hard_link_keeps_what_its_file_was_when_it_was_made() -> None:
    data = tars.member(b"f", b"old") + tars.member(b"h", b"", b"1", link=b"f") + tars.member(b"f", b"newer") + tars.END
    shown = unpack.scan(io.BytesIO(data)).shown(b"h")
    assert shown is not None
    assert (shown.size, shown.digest) == (3, contents.digest(b"old"))


def test_the_scan_of_a_packed_layer_is_the_index_that_packing_made(tmp_path: Path) -> None:
    items = [folder("d"), file("d/f", b"x" * 9), hard("d/h", "d/f"), file("etc/passwd", b"root:x:0:0\n")]
    layer = packed(tmp_path / "blob", items, [b"gone"])
    with layer.blob.open("rb") as stream:
        assert indexfile.encode(unpack.scan(stream, layer.media_type, layer.diff_id)) == indexfile.encode(layer.index)


def extract(data: bytes, *wanted: str, where: Path) -> dict[str, bytes]:
    places = {name.encode(): where / str(number) for number, name in enumerate(wanted)}
    files.extract(io.BytesIO(data), "", places)
    assert {place.stat().st_mode & 0o777 for place in places.values()} == {0o600}
    return {name: places[name.encode()].read_bytes() for name in wanted}


def test_single_files_are_extracted_through_hard_links(tmp_path: Path) -> None:
    data = (
        tars.member(b"./f", b"first")
        + tars.member(b"h", b"", b"1", link=b"f")
        + tars.member(b"hh", b"", b"1", link=b"h")
        + tars.member(b"f", b"second")
        + tars.END
    )
    assert extract(data, "f", "h", "hh", where=tmp_path) == {"f": b"second", "h": b"first", "hh": b"first"}
    assert sorted(place.name for place in tmp_path.iterdir()) == ["0", "1", "2"]


@pytest.mark.parametrize("wanted", ["absent", "d", "l"])
def test_extracting_what_is_no_file_is_refused(tmp_path: Path, wanted: str) -> None:
    data = tars.member(b"d/", b"", b"5") + tars.member(b"l", b"", b"2", link=b"/etc/passwd") + tars.END
    with pytest.raises(errors.LayerError, match=f"holds no file '{wanted}'"):
        extract(data, wanted, where=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_random_damage_is_either_harmless_or_a_layer_error() -> None:
    rng, accepted = random.Random(42), 0
    base = (
        tars.pax(path=b"long/" * 30 + b"name", SCHILY__xattr__user__k=b"v", mtime=b"12.5")
        + tars.member(b"f", b"content" * 100)
        + tars.member(b"L", b"x" * 120 + b"\0", b"L")
        + tars.member(b"cut", b"y")
        + tars.member(b"g", b"y")
        + tars.member(b"l", b"", b"2", link=b"t")
        + tars.member(b"h", b"", b"1", link=b"g")
        + tars.pax(GNU__sparse__map=b"0,5,10,5", GNU__sparse__size=b"20")
        + tars.member(b"s", b"x" * 10)
        + tars.END
    )
    for _ in range(3000):
        data = bytearray(base)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            data[at] = rng.choice((0, 0x20, 0x37, 0x80, 0xFF, rng.randrange(256)))
        header = rng.randrange(len(data) // 512) * 512
        data[header + 148 : header + 156] = b"%06o\0 " % (
            sum(data[header : header + 148]) + 256 + sum(data[header + 156 : header + 512])
        )
        # Any other exception than this one fails the test.
        with contextlib.suppress(errors.LayerError):
            unpack.scan(io.BytesIO(bytes(data)), limits=Limits(total=1 << 24))
            accepted += 1
    assert 0 < accepted < 3000


def test_the_first_bytes_name_the_compression() -> None:
    assert [decompress.sniff(data) for data in (gzip.compress(b""), zstd.compress(b""), b"plain", b"")] == [
        "gzip",
        "zstd",
        "",
        "",
    ]


@pytest.mark.parametrize("kind", [b"3", b"4"])
@pytest.mark.parametrize(
    ("major", "minor"),
    [
        (b"0010000", b"0"),
        (b"0", b"4000000"),
        (b"\x80" + b"\1" * 7, b"0"),
        (b"0", b"\x80" + b"\xff" * 7),
        (b"\xff" * 8, b"0"),
    ],
)
def test_a_device_that_linux_does_not_have_is_refused(kind: bytes, major: bytes, minor: bytes) -> None:
    data = tars.member(b"dev/x", b"", kind, major=major, minor=minor) + tars.END
    with pytest.raises(errors.LayerError, match=r"'dev/x' has the device number m.* which Linux does not have"):
        unpack.scan(io.BytesIO(data))


def test_the_largest_device_of_linux_is_read() -> None:
    ((entry, _),) = read(tars.member(b"c", b"", b"3", major=b"0007777", minor=b"3777777") + tars.END)
    assert (entry.major, entry.minor) == (4095, 1048575)
