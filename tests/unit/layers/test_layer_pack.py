"""What the bytes of a packed layer are, as other programs read them."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from strata_builder import contents, errors
from strata_builder.entries import Entry, Item, Kind
from strata_builder.layers import compress, pack, pipeline, storage
from support.layertrees import file, folder, hard, link, packed

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def small_layer() -> list[Item]:
    return [
        folder("etc", mtime=1_000_000_000),
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", mtime=1_000_000_000),
        file("etc/ping", b"x" * 700, mode=0o4755, uid=3_000_000, gid=7, xattrs=((b"security.capability", CAPABILITY),)),
        link("etc/motd", "../run/motd"),
        hard("etc/passwd-", "etc/passwd"),
        Item(Entry(b"etc/null", Kind.CHAR, 0o666, major=1, minor=3)),
        Item(Entry(b"etc/pipe", Kind.FIFO, 0o600)),
    ]


@pytest.mark.parametrize(
    ("compression", "digest"),
    [
        ("none", "c27724844b647f558271915fbf2bf2b9379d4f4bb475e78697a230724d2b5573"),
        ("gzip", "436805e30f4c7a393f5e44eda9bad95155006da96b2320d35f4f054b4faa27b4"),
        ("zstd", "d936a03a29b6e5550c8a68cb71c046df36b1c1a92902d02be8e2a4421dec4938"),
    ],
)
def test_the_bytes_of_a_layer_do_not_change_between_versions(tmp_path: Path, compression: str, digest: str) -> None:
    layer = packed(tmp_path / "blob", small_layer(), [b"var/log/old"], compression=compression)
    assert layer.digest.removeprefix("sha256:") == digest
    assert hashlib.sha256(layer.blob.read_bytes()).hexdigest() == digest
    assert layer.size == layer.blob.stat().st_size


def test_the_order_of_the_callers_items_does_not_matter(tmp_path: Path) -> None:
    first = packed(tmp_path / "a", small_layer(), [b"b", b"a/x"])
    for seed in range(5):
        shuffled = small_layer()
        random.Random(seed).shuffle(shuffled)
        assert packed(tmp_path / "b", shuffled, [b"a/x", b"b"]).digest == first.digest


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_any_number_of_threads_gives_the_same_bytes(tmp_path: Path, compression: str) -> None:
    rng = random.Random(7)
    content = b"".join(rng.randbytes(3000) * rng.randint(1, 40) for _ in range(100))
    items = [file("big", content), *(file(f"s{n}", rng.randbytes(n)) for n in range(300))]
    digests = {packed(tmp_path / "b", items, compression=compression, threads=n).digest for n in (1, 2, 3, 7)}
    assert len(digests) == 1


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, (1 << 20) - 1536, 1 << 20, (1 << 20) + 1, 3_333_333])
def test_one_gzip_member_holds_the_whole_tar_whatever_its_size(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size // 2).ljust(size, b"x")
    layer = packed(tmp_path / "blob", [file("f", content)])
    blob = layer.blob.read_bytes()
    tar = gzip.decompress(blob)
    assert blob.count(b"\x1f\x8b\x08\0\0\0\0\0\0\xff") == 1
    assert "sha256:" + hashlib.sha256(tar).hexdigest() == layer.diff_id
    assert len(tar) == layer.size_uncompressed
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        member = archive.extractfile("f")
        assert member is not None
        assert member.read() == content


def odd_layer() -> list[Item]:
    return [
        folder("d"),
        folder("d/" + "n" * 120),
        folder("d/" + "n" * 120 + "/" + "k" * 200),
        file("d/" + "n" * 120 + "/" + "m" * 120, b"deep"),
        file("d/" + "n" * 120 + "/" + "k" * 200 + "/" + "é" * 100, b"deeper"),
        file("d/é", b"accent"),
        file(b"d/\xff\xfe", b"not utf-8"),
        file("d/new\nline", b"nl"),
        file("d/sp ace", b"space"),
        file("d/quote'\"\\", b"q"),
        link("d/lnk", "t" * 150),
        link("d/lnké", "ziel-é"),
        file("d/owner", b"o", uid=3_000_000, gid=2**31),
        file("d/early", b"e", mtime=-5),
        file("d/late", b"l", mtime=2**36),
        hard("d/" + "z" * 120, "d/owner", uid=3_000_000, gid=2**31),
    ]


def test_pythons_tarfile_reads_back_every_odd_field(tmp_path: Path) -> None:
    layer = packed(tmp_path / "blob", odd_layer(), [b"d/" + b"w" * 130], compression="none")
    with tarfile.open(layer.blob) as archive:
        members = {member.name.encode("utf-8", "surrogateescape"): member for member in archive}
    for item in odd_layer():
        entry = item.entry
        member = members.pop(entry.path)
        assert (member.uid, member.gid, member.mode, member.mtime) == (entry.uid, entry.gid, entry.mode, entry.mtime)
        assert (member.uname, member.gname) == ("", "")
        assert member.isdir() == (entry.kind is Kind.DIR)
        if entry.kind is Kind.SYMLINK:
            assert member.linkname.encode("utf-8", "surrogateescape") == entry.link
    assert list(members) == [b"d/.wh." + b"w" * 130]


def test_gnu_tar_reads_back_every_odd_name(tmp_path: Path) -> None:
    layer = packed(tmp_path / "blob", odd_layer())
    (tmp_path / "root").mkdir()
    command: list[str | Path] = [
        "tar",
        "-xpf",
        layer.blob,
        "-C",
        tmp_path / "root",
        "--no-same-owner",
        "--warning=no-timestamp",
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""
    for item in odd_layer():
        place = Path(str(tmp_path / "root").encode().decode(), item.entry.path.decode("utf-8", "surrogateescape"))
        assert place.is_symlink() or place.exists()
        if item.open is not None:
            assert place.read_bytes() == item.open().read()
    assert (tmp_path / "root/d/owner").samefile(tmp_path / "root/d" / ("z" * 120))


def test_gnu_tar_reads_a_capability(tmp_path: Path) -> None:
    layer = packed(tmp_path / "blob", small_layer())
    listed = subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "-tvvf", layer.blob], capture_output=True, check=True, text=True
    )
    assert "security.capability" in listed.stdout
    with tarfile.open(layer.blob) as archive:
        text = archive.getmember("etc/ping").pax_headers["SCHILY.xattr.security.capability"]
    assert text.encode("utf-8", "surrogateescape") == CAPABILITY


def test_pax_headers_appear_only_where_ustar_cannot_say_it(tmp_path: Path) -> None:
    plain = [folder("a" * 90), file("a" * 90 + "/" + "b" * 90, b"x", mtime=2**31), link("l", "x" * 100)]
    layer = packed(tmp_path / "blob", plain, compression="none")
    assert layer.size == 3 * 512 + 512 + 1024


def test_parents_come_first_and_a_whiteout_stands_right_before_what_replaces_it(tmp_path: Path) -> None:
    items = [file("a/b/c", b""), folder("a/b"), folder("a"), file("a-b", b""), file("a/!", b"")]
    layer = packed(tmp_path / "blob", items, [b"a/b", b"zz"], compression="none")
    with tarfile.open(layer.blob) as archive:
        assert archive.getnames() == ["a", "a/!", "a/.wh.b", "a/b", "a/b/c", "a-b", ".wh.zz"]


def test_the_first_name_of_a_hard_linked_file_holds_the_content(tmp_path: Path) -> None:
    items = [file("t/z", b"content"), hard("t/b", "t/z"), hard("t/a", "t/z"), folder("t")]
    layer = packed(tmp_path / "blob", items, compression="none")
    with tarfile.open(layer.blob) as archive:
        shown = [(member.name, member.isreg() and member.size, member.linkname) for member in archive]
    assert shown == [("t", False, ""), ("t/a", 7, ""), ("t/b", False, "t/a"), ("t/z", False, "t/a")]
    assert [entry.digest for entry in layer.index][1:] == [contents.digest(b"content")] * 3


def test_a_layer_of_nothing_is_none_and_leaves_no_file(tmp_path: Path) -> None:
    assert pack.pack([], blob=tmp_path / "blob") is None
    assert list(tmp_path.iterdir()) == []


def test_the_index_of_a_packed_layer_knows_its_users(tmp_path: Path) -> None:
    layer = packed(tmp_path / "blob", small_layer())
    assert layer.index.texts == {b"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"}


@pytest.mark.parametrize(
    ("items", "whiteouts", "said"),
    [
        ([file(".wh.x")], [], "begins with '.wh.'"),
        ([folder("a"), file("a/.wh..wh..opq")], [], "begins with '.wh.'"),
        ([folder(".wh.d"), file(".wh.d/f")], [], "'.wh.d'"),
        ([], [b"a/.wh.x"], "begins with '.wh.'"),
        ([folder("a"), Item(Entry(b"a/c", Kind.CHAR, 0o600))], [], "'a/c' is the device 0:0"),
        ([file("../up")], [], "not a path relative"),
        ([file("/abs")], [], "not a path relative"),
        ([file("a//b")], [], "not a path relative"),
        ([file(b"a\0b")], [], "NUL"),
        ([file("x"), file("x")], [], "'x' would be in one layer twice"),
        ([hard("x", "nowhere")], [], "'x' is a hard link to 'nowhere'"),
        ([folder("d"), hard("x", "d")], [], "hard link"),
        ([link("l", "/etc"), file("l/evil")], [], "'l/evil' stands below 'l'"),
        ([file("n" * 256)], [], "longer than a Linux file system takes"),
        ([file("x", xattrs=((b"user.a=b", b""),))], [], "a name that a tar cannot carry"),
        ([Item(Entry(b"x", Kind.FILE, 0o644))], [], "without content"),
    ],
)
def test_what_no_layer_can_hold_is_refused_by_name(
    tmp_path: Path, items: list[Item], whiteouts: list[bytes], said: str
) -> None:
    with pytest.raises(errors.LayerError) as caught:
        pack.pack(items, whiteouts, blob=tmp_path / "blob")
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "size", "said"),
    [
        (b"short", 9, "ends 4 bytes before its size of 9"),
        (b"longer", 3, "longer than its size of 3"),
        (bytes(3 << 20), (3 << 20) + 4, "ends 4 bytes before its size of 3145732"),
        (bytes(3 << 20), (3 << 20) - 4, "longer than its size of 3145724"),
    ],
)
def test_a_file_that_changes_while_it_is_read_is_named(tmp_path: Path, content: bytes, size: int, said: str) -> None:
    item = Item(Entry(b"srv/log", Kind.FILE, 0o644, size=size), lambda: io.BytesIO(content))
    with pytest.raises(errors.LayerError) as caught:
        pack.pack([item], blob=tmp_path / "blob")
    assert "'srv/log' changed while it was being read" in str(caught.value)
    assert said in str(caught.value)
    assert "build again" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class Drips(io.BytesIO):
    """Gives less than it is asked for, as what decompresses may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(1 if size else 0)

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        return super().readinto(memoryview(buffer)[:1])


def test_a_file_that_comes_in_drops_is_whole(tmp_path: Path) -> None:
    content = b"in drops" * 20
    item = Item(Entry(b"f", Kind.FILE, 0o644, size=len(content)), lambda: Drips(content))
    dripped, whole = pack.pack([item], blob=tmp_path / "a"), pack.pack([file("f", content)], blob=tmp_path / "b")
    assert dripped is not None
    assert whole is not None
    assert dripped.digest == whole.digest


def test_content_that_differs_from_the_digest_it_was_compared_by_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.LayerError, match="'f' changed"):
        pack.pack([file("f", b"new", digest=contents.digest(b"old"))], blob=tmp_path / "blob")


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (PermissionError(13, "Permission denied"), "'a/f' cannot be read: Permission denied"),
        (FileNotFoundError(2, "No such file"), "'a/f' changed while it was being read: it is gone"),
    ],
)
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, failure: OSError, said: str) -> None:
    def refuse() -> io.BytesIO:
        raise failure

    with pytest.raises(errors.LayerError) as caught:
        pack.pack([Item(Entry(b"a/f", Kind.FILE, 0o600, size=1), refuse)], blob=tmp_path / "blob")
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class Breaks(io.BytesIO):
    def readinto(self, _buffer: object) -> int:
        raise OSError(5, "Input/output error", "f")

    read = readinto  # type: ignore[assignment]


@pytest.mark.parametrize("size", [10, 10 << 20])
def test_an_error_while_reading_stops_all_threads_and_leaves_no_file(tmp_path: Path, size: int) -> None:
    bad = Item(Entry(b"z", Kind.FILE, 0o644, size=size), Breaks)
    with pytest.raises(OSError, match="Input/output"):
        pack.pack([file("a", bytes(9 << 20)), bad], blob=tmp_path / "blob", threads=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_a_full_disk_is_a_limit_and_not_a_crash(threads: int) -> None:
    def fill() -> None:
        with (
            storage.full_is_a_limit(Path("/dev")),
            open("/dev/full", "wb", buffering=0) as sink,
            pipeline.Pipeline(compress.codec("none"), sink, threads) as pipe,
        ):
            for _ in range(50):
                pipe.write(bytes(1 << 20))
            pipe.finish()

    with pytest.raises(errors.StorageLimitExceeded, match="no space left"):
        fill()


def test_an_unknown_compression_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidSpec, match="gzip, zstd, none"):
        pack.pack([file("a")], blob=tmp_path / "blob", compression="lz4")
