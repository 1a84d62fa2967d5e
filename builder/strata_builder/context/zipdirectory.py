"""The central directory of a zip archive, read entry by entry: what is in it, and where (APPNOTE.TXT 6.3.10).

Only what the directory says counts, because data descriptors leave sizes out of the headers before the data. It is read
in one pass with bounded memory; every offset and size is checked against the file before it is used.
"""

from __future__ import annotations

import datetime
import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from strata_builder import errors
from strata_builder.frozen import frozen

MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
_END: Final = struct.Struct("<4s4H2LH")  # §4.3.16
_END64_LOCATOR: Final = struct.Struct("<4sLQL")  # §4.3.15
_END64: Final = struct.Struct("<4sQ2H2L4Q")  # §4.3.14
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")  # §4.3.12
_LOCAL: Final = struct.Struct("<4s5H3L2H")  # §4.3.7
_MAX_COMMENT: Final = 0xFFFF
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000  # §4.4.4: traditional, strong, masked headers
_UTF8: Final = 0x800
_ZIP64, _UNICODE_PATH, _TIMES = 0x0001, 0x7075, 0x5455
_UNIX: Final = (3, 19)  # systems whose external attributes hold st_mode: Unix and macOS


@frozen
class Member:
    """`name` as bytes of UTF-8 where that can be told, with a slash at the end of a folder's. `mode` is st_mode of a
    Unix system, 0 if it was made elsewhere; `mtime` Unix seconds."""

    name: bytes
    method: int
    stored: int
    size: int
    crc: int
    header: int
    mode: int
    mtime: int


@frozen
class _Place:
    """Where the directory lies and how many entries it is said to have."""

    start: int
    size: int
    count: int


def members(file: BinaryIO, name: str) -> Iterator[Member]:
    """Every entry of the archive in `file`, which can be sought in. `name` is for messages.

    Raises LayerError for what is no whole zip archive, NotSupported for one that is encrypted or split.
    """
    place = _find(file, name)
    file.seek(place.start)
    left = place.size
    for number in range(place.count):
        where = f"{name}: entry {number + 1}"
        fixed = _exactly(file, min(_CENTRAL.size, left), where)
        if len(fixed) < _CENTRAL.size or fixed[:4] != b"PK\x01\x02":
            raise _damaged(where, "its record in the directory is missing")
        fields = _CENTRAL.unpack(fixed)
        variable = _exactly(file, sum(fields[10:13]), where)
        left -= _CENTRAL.size + len(variable)
        if left < 0:
            raise _damaged(where, "its record leads out of the directory")
        at = file.tell()
        yield _member(fields, variable, where)
        file.seek(at)


def data_start(file: BinaryIO, member: Member, where: str) -> int:
    """Where the content of `member` begins. Raises LayerError if its own header says something else than the
    directory."""
    if member.header >= file.seek(0, os.SEEK_END):
        raise _damaged(where, "the directory says that it lies outside of the archive")
    file.seek(member.header)
    fixed = _exactly(file, _LOCAL.size, where)
    if fixed[:4] != b"PK\x03\x04":
        raise _damaged(where, "there is no header where the directory says")
    fields = _LOCAL.unpack(fixed)
    if fields[3] != member.method:
        raise _damaged(where, "its header and the directory disagree about the compression")
    return member.header + _LOCAL.size + int(fields[9]) + int(fields[10])


def _find(file: BinaryIO, name: str) -> _Place:
    """From the end record, which a comment of any content may follow."""
    length = file.seek(0, os.SEEK_END)
    if length < _END.size:
        raise _damaged(name, "it is cut short")
    tail_at = max(0, length - _END.size - _MAX_COMMENT)
    file.seek(tail_at)
    tail = file.read(_END.size + _MAX_COMMENT)
    at = len(tail) - _END.size
    while (at := tail.rfind(b"PK\x05\x06", 0, at + 4)) >= 0:
        _, disk, start_disk, here, count, size, start, comment = _END.unpack_from(tail, at)
        if at + _END.size + comment == len(tail):
            break
        at -= 1
    if at < 0:
        raise _damaged(name, "it has no directory at its end: it is cut short, or no zip archive")
    end = tail_at + at
    place, disks = _Place(start, size, count), {disk, start_disk}
    if here != count and here != 0xFFFF:
        disks.add(-1)
    if 0xFFFFFFFF in (size, start) or count == 0xFFFF:
        place, disks, end = _find64(file, end, name) or (place, disks, end)
    if disks != {0}:
        raise errors.NotSupported(f"{name} is one part of a zip archive that was split", hint="join its parts first")
    if place.start + place.size != end:
        raise _damaged(name, "its directory does not lie where its end says")
    return place


def _find64(file: BinaryIO, end: int, name: str) -> tuple[_Place, set[int], int] | None:
    """None without a locator: the values that look like marks are then real."""
    if end < _END64_LOCATOR.size:
        return None
    file.seek(end - _END64_LOCATOR.size)
    magic, disk, at, _ = _END64_LOCATOR.unpack(_exactly(file, _END64_LOCATOR.size, name))
    if magic != b"PK\x06\x07":
        return None
    if at + _END64.size > end:
        raise _damaged(name, "its zip64 end lies outside of it")
    file.seek(at)
    magic, _, _, _, this, start_disk, here, count, size, start = _END64.unpack(_exactly(file, _END64.size, name))
    if magic != b"PK\x06\x06" or here != count:
        raise _damaged(name, "its zip64 end is none")
    return _Place(start, size, count), {disk, this, start_disk}, at


def _member(fields: tuple[int, ...], variable: bytes, where: str) -> Member:
    made_by, flags, method, time, date = fields[1], fields[3], fields[4], fields[5], fields[6]
    crc, stored, size, length, extra_length = fields[7:12]
    raw = variable[:length]
    shown = f"{where} ({raw[:100].decode('utf-8', 'replace')!r})"
    if flags & _ENCRYPTED:
        raise errors.NotSupported(f"{shown} is encrypted", hint="make the archive without a password")
    extra = _extra(variable[length : length + extra_length])
    size, stored, header = _large(extra.get(_ZIP64, b""), size, stored, fields[16], shown)
    mode = fields[15] >> 16 if made_by >> 8 in _UNIX else 0
    return Member(
        _name(raw, flags, made_by >> 8, extra),
        method,
        stored,
        size,
        crc,
        header,
        mode,
        _mtime(extra.get(_TIMES, b""), time, date),
    )


def _extra(data: bytes) -> dict[int, bytes]:
    """Of two fields of a kind the first counts; what is cut short is left out."""
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        kind, size = struct.unpack_from("<2H", data)
        if len(data) >= 4 + size:
            found.setdefault(kind, data[4 : 4 + size])
        data = data[4 + size :]
    return found


def _large(field: bytes, size: int, stored: int, header: int, where: str) -> tuple[int, int, int]:
    """§4.5.3: the field holds those, in this order, whose place has only ones."""
    values = []
    for value in (size, stored, header):
        if value == 0xFFFFFFFF and field:
            if len(field) < 8:
                raise _damaged(where, "its zip64 field is too short")
            value, field = struct.unpack_from("<Q", field)[0], field[8:]
        values.append(value)
    return values[0], values[1], values[2]


def _name(raw: bytes, flags: int, system: int, extra: dict[int, bytes]) -> bytes:
    """Names are UTF-8 if they say so or are valid as such (what Unix programs write unsaid), else code page 437."""
    field = extra.get(_UNICODE_PATH, b"")
    if len(field) > 5 and field[0] == 1 and struct.unpack_from("<L", field, 1)[0] == zlib.crc32(raw):
        raw, flags = field[5:], _UTF8
    if not flags & _UTF8:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            raw = raw.decode("cp437").encode()
    return raw.replace(b"\\", b"/") if system not in _UNIX and b"/" not in raw else raw


def _mtime(field: bytes, time: int, date: int) -> int:
    """The extended timestamp, else the MS-DOS one taken as UTC: an archive means the same everywhere."""
    if len(field) >= 5 and field[0] & 1:
        return int(struct.unpack_from("<l", field, 1)[0])
    return _days(1980 + (date >> 9), date >> 5 & 0xF, date & 0x1F) * 86400 + (
        (time >> 11) * 3600 + (time >> 5 & 0x3F) * 60 + (time & 0x1F) * 2
    )


def _days(year: int, month: int, day: int) -> int:
    """Since 1970, for any fields that an archive may hold."""
    try:
        return datetime.date(year, month, day).toordinal() - datetime.date(1970, 1, 1).toordinal()
    except ValueError:
        return datetime.date(1980, 1, 1).toordinal() - datetime.date(1970, 1, 1).toordinal()


def _exactly(file: BinaryIO, size: int, where: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise _damaged(where, "it is cut short")
    return data


def _damaged(where: str, what: str) -> errors.LayerError:
    return errors.LayerError(f"{where}: {what}", hint="fetch or make the file again")
