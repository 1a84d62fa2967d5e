"""Tars by hand: headers that no decent program writes."""

from __future__ import annotations

import io
import tarfile
from typing import Any

END = bytes(1024)


def block(name: bytes, kind: bytes = b"0", **fields: bytes) -> bytes:
    """One ustar header; `fields` replaces raw ones: mode uid gid size mtime checksum link magic prefix major minor."""
    raw = {
        "name": name,
        "mode": b"0000644",
        "uid": b"0000000",
        "gid": b"0000000",
        "size": b"%011o" % 0,
        "mtime": b"00000000000",
        "checksum": b" " * 8,
        "kind": kind,
        "link": b"",
        "magic": b"ustar\x0000",
        "uname": b"",
        "gname": b"",
        "major": b"0000000",
        "minor": b"0000000",
        "prefix": b"",
        "rest": b"",
    } | {key: value for key, value in fields.items() if key != "checksum"}
    widths = (100, 8, 8, 8, 12, 12, 8, 1, 100, 8, 32, 32, 8, 8, 155, 12)
    data = b"".join(value.ljust(width, b"\0")[:width] for value, width in zip(raw.values(), widths, strict=True))
    checksum = fields.get("checksum", b"%06o\0 " % sum(data))
    return data[:148] + checksum + data[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def member(name: bytes, content: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    return block(name, kind, **{"size": b"%011o" % len(content), **fields}) + padded(content)


def pax(kind: bytes = b"x", **records: bytes) -> bytes:
    """An extended header; keys are given with `__` for a dot."""
    body = b"".join(record(key.replace("__", ".").encode(), value) for key, value in records.items())
    return member(b"PaxHeaders/x", body, kind)


def record(key: bytes, value: bytes) -> bytes:
    size = len(key) + len(value) + 3
    size += len(str(size + len(str(size))))
    return b"%d %b=%b\n" % (size, key, value)


def made_by_tarfile(*members: tuple[dict[str, Any], bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of (attributes of a TarInfo, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for fields, content in members:
            info = tarfile.TarInfo()
            for key, value in fields.items():
                setattr(info, key, value)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
