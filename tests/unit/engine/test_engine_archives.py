"""What ADD takes for an archive's end."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context import memory
from strata_builder.engine import archives, selecting

ADD = df.parse(b"FROM scratch\nADD t /\n").stages[0].instructions[0]
BOTH = 2 * 1024  # bytes of two members: each a header and a block


def members() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"xyz"))
    return buffer.getvalue()


def unpacked(content: bytes, scratch: Path) -> list[bytes] | None:
    tree = memory.MemoryTree({b"t": content})
    (source,) = selecting.select(tree, "t", where="the context")
    found = archives.Opener(ADD, scratch)(source)
    return None if found is None else [item.entry.path for item in found]


@pytest.mark.parametrize("end", [BOTH, BOTH + 512, BOTH + 1024, BOTH + 1023])
@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_may_end_after_any_whole_member(tmp_path: Path, end: int, packed: bool) -> None:
    content = members()[:end]
    assert unpacked(gzip.compress(content) if packed else content, tmp_path) == [b"a", b"b"]


@pytest.mark.parametrize("end", [BOTH - 1, BOTH - 512, BOTH - 600, 1024 + 1])
@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_that_ends_within_a_member_is_refused(tmp_path: Path, end: int, packed: bool) -> None:
    content = members()[:end]
    with pytest.raises(errors.LayerError, match="the archive 't'"):
        unpacked(gzip.compress(content) if packed else content, tmp_path)


def test_a_packed_archive_that_is_cut_is_refused_wherever(tmp_path: Path) -> None:
    content = gzip.compress(members())
    with pytest.raises(errors.LayerError, match="the archive 't'"):
        unpacked(content[:-9], tmp_path)
