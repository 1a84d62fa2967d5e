"""Archives and streams from strangers: layers, tables of contents, zip files, image archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from random import Random
from typing import Final

from backports import zstd
from isal import isal_zlib

from fuzz import mutation
from fuzz.target import Target, said
from strata_builder import errors
from strata_builder.context import limits, unzip
from strata_builder.layers import decompress, indexfile, tarheader, unpack
from strata_builder.layers.source import Limits
from strata_builder.oci import archive
from support import tars as made

_SMALL: Final = Limits(total=1 << 24, entries=5000, extended=1 << 20)
_MOST: Final = 64 << 20  # bytes of a stream after which its reader has had enough
_SCRATCH: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None


def layer(data: bytes) -> None:
    """An index, and one that reads as it was written."""
    try:
        found = unpack.scan(io.BytesIO(data), limits=_SMALL)
    except errors.LayerError as error:
        said(error)
        return
    assert indexfile.encode(indexfile.decode(indexfile.encode(found))) == indexfile.encode(found)
    for entry in found:
        tarheader.header(entry)


def unpacked(data: bytes) -> None:
    """On a file system: twice, the second time as the layer above. What lies beside the root stays as it was."""
    with tempfile.TemporaryDirectory(dir=_SCRATCH, prefix="fuzz.") as scratch:
        root, beside = Path(scratch, "root"), Path(scratch, "beside")
        root.mkdir()
        beside.write_bytes(b"untouched")
        try:
            for _ in range(2):
                unpack.unpack_to(
                    io.BytesIO(data), "", root, overlay=False, owner=unpack.OwnerPolicy.IGNORE, limits=_SMALL
                )
        except errors.BuildError as error:
            said(error)
        assert sorted(os.listdir(scratch)) == ["beside", "root"]
        assert (beside.read_bytes(), beside.stat().st_nlink) == (b"untouched", 1)


def stream(data: bytes) -> None:
    total = 0
    try:
        for chunk in decompress.chunks(io.BytesIO(data)):
            assert len(chunk) <= decompress.CHUNK
            total += len(chunk)
            if total > _MOST:
                return
    except errors.LayerError as error:
        said(error)


def contents(data: bytes) -> None:
    """A table of contents, before it is deflated: what is read is what would be written."""
    try:
        found = indexfile.decode(isal_zlib.compress(data))
    except errors.LayerError as error:
        said(error)
        return
    assert isal_zlib.decompress(indexfile.encode(found)) == data


def zipped(data: bytes) -> None:
    """Nothing is written but below the folder, and no more than allowed."""
    with tempfile.TemporaryDirectory(dir=_SCRATCH, prefix="fuzz.") as scratch:
        dest = Path(scratch, "dest")
        dest.mkdir()
        try:
            unzip.extract(io.BytesIO(data), dest, limits.Budget(1 << 20, entries=1000), "x.zip")
        except errors.BuildError as error:
            said(error)
        finally:
            _only_below(dest)


def _only_below(dest: Path) -> None:
    assert os.listdir(dest.parent) == ["dest"]
    for folder, names, files in os.walk(dest):
        for name in (*names, *files):
            Path(folder, name).lstat()


def saved(data: bytes) -> None:
    """What `docker save` or an OCI layout in a tar would be."""
    with tempfile.NamedTemporaryFile(dir=_SCRATCH, prefix="fuzz.") as file:
        file.write(data)
        file.flush()
        try:
            with archive.Archive(Path(file.name)) as found:
                for image in found.images:
                    for each in image.image.layers:
                        with found.open(each.descriptor) as reader:
                            shutil.copyfileobj(reader, io.BytesIO())
        except errors.BuildError as error:
            said(error)


def _tar_changed(rng: Random, data: bytes, pieces: tuple[bytes, ...]) -> bytes:
    """A changed tar whose headers have right checksums, mostly: else all changes would end at the first header."""
    out = bytearray(mutation.changed(rng, data, pieces))
    if rng.random() < 0.6:
        _change_field(rng, out)
    if rng.random() < 0.95:
        for at in range(0, len(out) - 511, 512):
            if out[at + 257 : at + 262] == b"ustar" or out[at + 156 : at + 157] in b"0123456789xgLKSDV\0":
                out[at + 148 : at + 156] = b"%06o\0 " % (sum(out[at : at + 148]) + 256 + sum(out[at + 156 : at + 512]))
    return bytes(out)


_FIELDS: Final = ((0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (157, 100), (257, 8), (329, 8), (337, 8),
                  (345, 155), (386, 96), (482, 1), (483, 12))  # fmt: skip
_VALUES: Final = (
    b"", b"\0", b"7", b"8", b"-1", b" 7 ", b"7" * 12, b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\x80" + bytes(10) + b"\x05",
    b"../..", b"/", b"./", b"a/../..", b"\xff\xfe", b".wh.x", b".wh..wh..opq", b".wh.", b"a" * 155, b"00000000010",
)  # fmt: skip


def _change_field(rng: Random, out: bytearray) -> None:
    if len(out) >= 512:
        at = rng.randrange(len(out) // 512) * 512
        start, width = rng.choice(_FIELDS)
        out[at + start : at + start + width] = rng.choice(_VALUES).ljust(width, b"\0")[:width]
        if rng.random() < 0.5:
            out[at + 156 : at + 157] = rng.choice((b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"D", b"x", b"g",
                                                   b"L", b"K", b"V", b"\0", b"Z"))  # fmt: skip


def _tars() -> tuple[bytes, ...]:
    """Of every make: by hand, pax with its sparse formats, GNU, ustar."""
    by_hand = (
        made.pax(path=b"long/" * 30 + b"name", SCHILY__xattr__user__k=b"v", mtime=b"12.5", uid=b"3000000")
        + made.member(b"f", b"content" * 100)
        + made.pax(b"g", mtime=b"1")
        + made.member(b"L", b"x" * 120 + b"\0", b"L")
        + made.member(b"cut", b"y")
        + made.member(b"g", b"y")
        + made.member(b"l", b"", b"2", link=b"t")
        + made.member(b"h", b"", b"1", link=b"g")
        + made.member(b"d/", b"", b"5")
        + made.member(b"c", b"", b"3", major=b"0000010", minor=b"0000003")
        + made.member(b"b", b"", b"4")
        + made.member(b"p", b"", b"6")
        + made.member(b".wh.gone")
        + made.member(b"d/.wh..wh..opq")
        + made.END
    )
    sparse = (
        made.pax(GNU__sparse__map=b"0,5,10,5", GNU__sparse__size=b"20")
        + made.member(b"s", b"x" * 10)
        + made.pax(
            GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__realsize=b"20", GNU__sparse__name=b"t"
        )
        + made.member(b"u", (b"1\n0\n5\n").ljust(512, b"\0") + b"x" * 5)
        + made.END
    )
    forms = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    fields = (
        ({"name": "a/b"}, b"c"),
        ({"name": "n" * 90, "uid": 70000}, b""),
        ({"name": "l", "linkname": "x", "type": b"2"}, b""),
    )
    return (by_hand, sparse, *(made.made_by_tarfile(*fields, form=form) for form in forms))


def _climbing() -> tuple[bytes, ...]:
    """What would reach out of its root if links were followed."""
    out = made.member(b"l", b"", b"2", link=b"../beside") + made.member(b"up", b"", b"2", link=b"..")
    return (
        out + made.member(b"l", b"x") + made.member(b"up/beside", b"x") + made.END,
        out + made.member(b"h", b"", b"1", link=b"up/beside") + made.member(b"h", b"x") + made.END,
        out + made.member(b"up/.wh.beside") + made.member(b"d/", b"", b"5") + made.member(b"d", b"x") + made.END,
    )


def _zips() -> tuple[bytes, ...]:
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as file:
            file.writestr("d/", b"")
            file.writestr("d/f", b"content" * 50)
            link = zipfile.ZipInfo("l")
            link.create_system, link.external_attr = 3, 0o120777 << 16
            file.writestr(link, b"d/f")
            with file.open(zipfile.ZipInfo("big"), "w", force_zip64=True) as member:
                member.write(b"x" * 100)
            file.comment = b"said"
        found.append(buffer.getvalue())
    return tuple(found)


def _saved() -> tuple[bytes, ...]:
    inner = made.made_by_tarfile(({"name": "f"}, b"x"))
    from hashlib import sha256

    config = (
        b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%b"]}}'
        % sha256(inner).hexdigest().encode()
    )
    listed = b'[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l/layer.tar"]}]'
    files = ({"name": "c.json"}, config), ({"name": "l/layer.tar"}, inner), ({"name": "manifest.json"}, listed)
    return tuple(made.made_by_tarfile(*files, form=form) for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))


_PLAIN: Final = _tars()[0]
_TAR_PIECES: Final = (
    made.record(b"path", b"x"), made.record(b"size", b"9"), made.record(b"GNU.sparse.map", b"0,1"), b"13 path=a/b/c\n",
    b"6 a=b\n", made.block(b"f"), made.block(b"c", b"3"), made.END, b"\0" * 512, b"\x80", b"../", b"1\n",
    made.pax(size=b"9" * 25), made.pax(path=b"x" * 5000), b"\0", made.pax(SCHILY__xattr__security__capability=b"\1"),
)  # fmt: skip
_RECORDS: Final = made.member(b"x", b"6 a=b\n" * 170_000, b"x") + made.member(b"f") + made.END
_ENTRIES: Final = tuple(unpack.scan(io.BytesIO(data)) for data in _tars()[:2])

TARGETS: Final = (
    Target("tar reader", layer, _tars(), _TAR_PIECES, (_RECORDS,), runs=2500, change=_tar_changed),
    Target("layers on disk", unpacked, (*_tars(), *_climbing()), _TAR_PIECES, runs=600, change=_tar_changed),
    Target(
        "compressed streams",
        stream,
        (
            gzip.compress(_PLAIN), gzip.compress(b"a") + gzip.compress(b"b"), zstd.compress(_PLAIN), bz2.compress(b"abc" * 99),
            lzma.compress(b"abc" * 99), zstd.compress(b"x" * 99, options={zstd.CompressionParameter.checksum_flag: 1}),
            b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd.compress(b"y"), b"plain",
        ),
        (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\xff\xff\xff\xff", b"BZh9", b"\xfd7zXZ\0", b"\0" * 9),
        runs=1500,
    ),
    Target(
        "tables of contents",
        contents,
        tuple(bytes(isal_zlib.decompress(indexfile.encode(found))) for found in _ENTRIES),
        (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\1\0\0\0", b"a", b"/", b".."),
    ),
    Target(
        "zip reader",
        zipped,
        _zips(),
        (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\xff" * 4, b"\xff" * 8, b"../", b"\1\0", b"\x75\x70"),
        runs=600,
        stretched=0,
    ),
    Target("image archives", saved, _saved(), _TAR_PIECES, (_RECORDS,), runs=800, change=_tar_changed),
)  # fmt: skip
