"""The source of a mount is one path, whatever characters it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import folder
from support import fake_roots
from support.engine_build import Engine, written

ODD = ("[a]", "*.txt", "what?", "**")
FROM_STAGE = "FROM scratch AS s\nCOPY . /\nFROM scratch\n"


def _ran(place: Path, files: dict[str, str | bytes], dockerfile: str) -> str:
    engine = Engine(place, roots=fake_roots.FakeRoots(place))
    return engine.build(dockerfile, folder.FolderTree(written(place / "c", files)), runs=True).layers[-1][-1].digest


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("before", ["FROM scratch\n", FROM_STAGE])
def test_a_source_is_the_path_that_is_written(tmp_path: Path, before: str, name: str):
    options = "from=s," if before is FROM_STAGE else ""
    lines = f"{before}RUN --mount={options}source={name},target=/m x\n"
    near: dict[str, str | bytes] = {"a": "near", "b.txt": "near", "whatX": "near", "ab": "near"}
    both = {n: _ran(tmp_path / n, {**near, name: n}, lines) for n in ("one", "two")}
    assert both["one"] != both["two"]


@pytest.mark.parametrize("name", [*ODD, "none"])
@pytest.mark.parametrize("mount", ["", "from=s,", "type=cache,id=k,from=s,"])
def test_a_source_that_is_not_there_is_named_with_its_line(tmp_path: Path, mount: str, name: str):
    lines = f"{FROM_STAGE}RUN --mount={mount}source={name},target=/m x\n"
    with pytest.raises(errors.SourceNotFound) as e:
        _ran(tmp_path, {"a": "near", "b.txt": "near", "whatX": "near"}, lines)
    assert repr(name) in e.value.message
    assert e.value.place is not None
    assert e.value.place.line == 4
