"""The fields of tar headers, read strictly: numbers, checksums, extended records, sparse maps. Pure.

Sources: POSIX.1-2017 pax; the GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

import functools
from typing import Final

from strata_builder import errors
from strata_builder.layers import paths, tarheader

ZERO: Final = bytes(tarheader.BLOCK)
Segments = list[tuple[int, int]]
"""A sparse file's pieces of data: (offset, length)."""


def text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


@functools.lru_cache(1024)
def octal(field: bytes) -> int | None:
    """What nearly all fields are, and the same in nearly all headers of one archive."""
    digits = field.rstrip(b"\0 ")
    return int(digits, 8) if digits.isdigit() and b"8" not in digits and b"9" not in digits else None


def number(field: bytes, what: str, where: object) -> int:
    """Octal text, or GNU's base-256 where the first bit is set. `where`, here as below, is told by its str()."""
    plain = octal(field)
    if plain is not None:
        return plain
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big") - (1 << 8 * (len(field) - 1) if field[0] == 0xFF else 0)
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise errors.LayerError(f"{where}: the field '{what}' of the tar header is no number: {field!r}")
    return int(digits or b"0", 8)


def check(header: bytes, where: object) -> None:
    """Raises LayerError unless the header's checksum is right, by unsigned bytes or (very old tars) by signed ones."""
    stated = number(header[148:156], "checksum", where)
    rest = header[:148] + b" " * 8 + header[156:]
    if stated == tarheader.byte_sum(rest) or stated == sum(byte - 256 if byte > 127 else byte for byte in rest):
        return
    raise errors.LayerError(f"{where}: the checksum of the tar header is wrong", hint="the data is damaged, or no tar")


Records = list[tuple[bytes, bytes]]


def records(body: bytes, where: object) -> Records:
    """The `length key=value\\n` records of a pax extended header, in their order."""
    found, at = [], 0
    while at < len(body):
        digits, space, _ = body[at : at + 20].partition(b" ")
        size = int(digits) if digits.isdigit() and space else 0
        record = body[at + len(digits) + 1 : at + size]
        key, equals, value = record[:-1].partition(b"=")
        if not record.endswith(b"\n") or not key or not equals or size != len(digits) + 1 + len(record):
            raise errors.LayerError(f"{where}: a pax extended header is malformed")
        found.append((key, value))
        at += size
    return found


def decimal(value: bytes, what: str, where: object) -> int:
    """A pax number; fractions of a second are cut towards the past."""
    whole, _, fraction = value.partition(b".")
    sign, digits = (-1, whole[1:]) if whole[:1] == b"-" else (1, whole)
    if not digits.isdigit() or len(digits) > 19 or (fraction and not fraction.isdigit()):
        raise errors.LayerError(f"{where}: the pax record '{what}' is no number: {value[:40]!r}")
    return sign * int(digits) - (1 if sign < 0 and fraction.strip(b"0") else 0)


def old_gnu_sparse(fields: bytes, where: object) -> Segments:
    """The (offset, length) pairs of 24 bytes each, up to the first empty one."""
    segments = []
    for at in range(0, len(fields) - 23, 24):
        if not fields[at]:
            break
        offset, length = fields[at : at + 12], fields[at + 12 : at + 24]
        segments.append((number(offset, "sparse offset", where), number(length, "sparse length", where)))
    return segments


def listed_sparse(text_map: bytes, where: object) -> Segments:
    """GNU.sparse.map of format 0.1: numbers between commas."""
    numbers = [decimal(piece, "GNU.sparse.map", where) for piece in text_map.split(b",")] if text_map else []
    if len(numbers) % 2:
        raise errors.LayerError(f"{where}: the map of a sparse file has an odd number of numbers")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def checked_segments(segments: Segments, stored: int, size: int, where: object) -> Segments:
    """`segments` if they are in order, within `size` and as long together as the `stored` bytes; else LayerError."""
    end = 0
    for offset, length in segments:
        if offset < end or length < 0:
            raise errors.LayerError(f"{where}: the pieces of a sparse file overlap or are out of order")
        end = offset + length
    if end > size or sum(length for _, length in segments) != stored:
        raise errors.LayerError(f"{where}: the map of a sparse file does not fit its size")
    return [piece for piece in segments if piece[1]]


def link_target(link: bytes, where: object) -> bytes:
    """A hard link's target as a path of the layer."""
    target = paths.normalise(link)
    if not target:
        raise errors.LayerError(f"{where} is a hard link to nothing")
    return target
