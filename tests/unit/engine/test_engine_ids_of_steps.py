"""Users and groups that the builder's user namespace does not have: refused before a step, with what it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import memory
from strata_builder.sandbox import ids
from support import fake_roots
from support.engine_build import Engine

USERS = """FROM scratch
COPY <<E /etc/passwd
app:x:1000:1000::/:/bin/sh
far:x:100000:1000::/:/bin/sh
lone:x:1001:100000::/:/bin/sh
E
COPY <<E /etc/group
app:x:1000:
many:x:100000:app
E
"""
#: What cannot be in its last line, and who is named.
WRONG = {
    "USER 100000\nRUN x": "user 100000",
    "USER far\nRUN x": "user 100000",
    "USER 5:100000\nRUN x": "group 100000",
    "USER 5:many\nRUN x": "group 100000",
    "USER lone\nRUN x": "group 100000",
    "USER app\nRUN x": "group 100000",
    "USER 5\nRUN --mount=type=cache,target=/c,uid=100000 x": "user 100000",
    "USER 5\nRUN --mount=type=cache,target=/c,gid=100000 x": "group 100000",
    "USER 5\nRUN --mount=type=secret,id=s,uid=100000 x": "user 100000",
    "USER 5\nRUN --mount=type=ssh,gid=4294967295 x": "group 4294967295",
}


def _build(place: Path, lines: str) -> None:
    engine = Engine(place, roots=fake_roots.FakeRoots(place))
    engine.build(f"{USERS}{lines}\n", memory.MemoryTree({}), runs=True, secrets={"s": b"s"})


@pytest.mark.parametrize("lines", WRONG)
def test_an_id_that_is_not_there_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    monkeypatch.setattr(ids, "_ranges", lambda _: [range(65536)])
    with pytest.raises(errors.NotSupported, match=WRONG[lines]) as e:
        _build(tmp_path, lines)
    assert "0 to 65535" in e.value.message
    assert "InPlace" in e.value.hint
    assert e.value.place is not None
    assert e.value.place.line == 12


@pytest.mark.parametrize("lines", WRONG)
def test_it_is_fine_where_all_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    monkeypatch.setattr(ids, "_ranges", lambda _: [range(2**32)])
    _build(tmp_path, lines)


def test_the_namespace_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    (tmp_path / "uid_map").write_text("         0       1000          1\n         1     100000      65536\n")
    (tmp_path / "gid_map").write_text("         0          0          1\n      1000       1000          1\n")
    ids.require([0, 1, 65536], [0, 1000], tmp_path)
    with pytest.raises(errors.NotSupported, match=r"the user 65537, and .* has users 0 to 0, 1 to 65536"):
        ids.require([0, 65537], [0], tmp_path)
    with pytest.raises(errors.NotSupported, match=r"the group 33, and .* has groups 0 to 0, 1000 to 1000"):
        ids.require([0], [0, 33], tmp_path)
