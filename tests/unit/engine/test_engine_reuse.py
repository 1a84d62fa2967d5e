"""Building again after an edit: which steps are found, and that what is found is what would have been made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strata_builder import dockerfile as df
from strata_builder.context import folder
from strata_builder.context.memory import MemoryTree
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.engine import planner, steps, times
from strata_builder.engine.options import Options
from strata_builder.entries import Entry, Kind
from strata_builder.layers import index
from support.engine_build import AMD64, Built, Engine, NoImages, written

FILES: dict[str, str | bytes] = {"a.txt": "aaa", "b.txt": "bbb", "c.md": "c", "d/x": "x", "d/l -> x": "", "d/e/": ""}
LINES = """FROM scratch AS s
COPY a.txt b.txt d /s/
FROM scratch
ARG V=1
COPY *.txt /w/
COPY --chown=1:1 d /d/
COPY --from=s /s/a.txt /from/
WORKDIR /app
COPY <<END /h
$V
END
"""


def _same_size_and_time(path: Path) -> None:
    status = path.stat()
    path.write_text("zzz")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _line(old: str, new: str) -> Callable[[Path], str]:
    assert old in LINES
    return lambda _: LINES.replace(old, new)


def _swap(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


# What is done to the context; an edit of the Dockerfile gives the new text.
EDITS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _: None,
    "touch": lambda r: os.utime(r / "a.txt", (1, 1)),
    "touch a folder": lambda r: os.utime(r / "d", (1, 1)),
    "another file that no step names": lambda r: (r / "c.md").write_text("new"),
    "an ignore rule that takes nothing": lambda r: (r / ".dockerignore").write_text("nothing\n"),
    "content": lambda r: (r / "a.txt").write_text("longer"),
    "content of equal size and time": lambda r: _same_size_and_time(r / "a.txt"),
    "content of a neighbour": lambda r: (r / "b.txt").write_text("longer"),
    "chmod": lambda r: (r / "d/x").chmod(0o600),
    "chmod of a folder": lambda r: (r / "d/e").chmod(0o700),
    "rename": lambda r: (r / "d/x").rename(r / "d/y"),
    "a new empty folder": lambda r: (r / "d/new").mkdir(),
    "a new match of a wildcard": lambda r: (r / "n.txt").write_text("n"),
    "file to link": lambda r: _swap(r / "d/x", lambda p: p.symlink_to("l")),
    "file to folder": lambda r: _swap(r / "d/x", Path.mkdir),
    "target of a link": lambda r: _swap(r / "d/l", lambda p: p.symlink_to("e")),
    "a second name": lambda r: (r / "d/y").hardlink_to(r / "d/x"),
    "a second name outside": lambda r: (r / "c2.md").hardlink_to(r / "d/x"),
    "a comment": _line("ARG", "# why\nARG"),
    "a label": _line("ARG", "LABEL a=1\nARG"),
    "a variable": _line("COPY *", "ENV A=1\nCOPY *"),
    "an argument's default": _line("V=1", "V=2"),
    "an argument below": _line("$V\nEND\n", "$V\nEND\nARG AFTER=1\n"),
    "--chown": _line("1:1", "2:1"),
    "a flag that says the same": _line("COPY *", "COPY --chmod=u+r *"),
    "a destination": _line("/w/", "/w2/"),
    "the name of a stage": lambda _: LINES.replace("AS s", "AS z").replace("--from=s", "--from=z"),
    "another working directory": _line("/app", "/app2"),
    "a user": _line("WORKDIR", "USER 5\nWORKDIR"),
}

# COPY of stage s (absent where nothing needs the stage), COPY *.txt, COPY d, COPY --from, WORKDIR, COPY of a heredoc:
# H it was found, M it was made. A definition holds its parent's; what stands below a change is found by its content.
TABLE = """
nothing                            HHHHH
touch                              HHHHH
touch a folder                     HHHHH
another file that no step names    HHHHH
an ignore rule that takes nothing  HHHHH
content                            MMHMHH
content of equal size and time     MMHMHH
content of a neighbour             MMHHHH
chmod                              MHMHHH
chmod of a folder                  MHMHHH
rename                             MHMHHH
a new empty folder                 MHMHHH
a new match of a wildcard          HMHHHH
file to link                       MHMHHH
file to folder                     MHMHHH
target of a link                   MHMHHH
a second name                      MHMHHH
a second name outside              HHHHH
a comment                          HHHHH
a label                            HHHHH
a variable                         HHHHH
an argument's default              HHHHM
an argument below                  HHHHH
--chown                            HHMHHH
a flag that says the same          HHHHHH
a destination                      HMHHHH
the name of a stage                HHHHH
another working directory          HHHMH
a user                             HHHMH
"""


def _build(engine: Engine, root: Path, lines: str, **given: object) -> Built:
    ignore = root / ".dockerignore"
    rules = IgnoreRules.parse(ignore.read_bytes()) if ignore.exists() else None
    return engine.build(lines, folder.FolderTree(root, rules), **given)


@pytest.mark.parametrize("row", TABLE.strip().splitlines(), ids=lambda row: row[:35].strip())
def test_exactly_these_steps_are_found_after_an_edit(tmp_path: Path, row: str) -> None:
    name, found = row[:35].strip(), row[35:].strip()
    engine = Engine(tmp_path / "warm")
    assert _build(engine, written(tmp_path / "before", FILES), LINES).found == "MMMMMM"
    after = written(tmp_path / "after", FILES)
    edited = EDITS[name](after)
    lines = edited if isinstance(edited, str) else LINES
    warm, cold = _build(engine, after, lines), _build(Engine(tmp_path / "cold"), after, lines)
    forced = _build(engine, after, lines, no_cache=True)
    assert warm.found == found
    assert set(cold.found + forced.found) == {"M"}
    assert warm.image.digest == cold.image.digest == forced.image.digest


def test_every_edit_has_its_row() -> None:
    assert {row[:35].strip() for row in TABLE.strip().splitlines()} == EDITS.keys()


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"build_args": {"V": "1"}}, "HHHHH"),
    ({"build_args": {"V": "2"}}, "HHHHM"),
    ({"build_args": {"UNDECLARED": "2"}}, "HHHHH"),
    ({"build_args": {"HTTP_PROXY": "http://proxy.example"}}, "HHHHH"),
    ({"labels": {"a": "1"}}, "HHHHH"),
    ({"secrets": {"a": b"1"}}, "HHHHH"),
    ({"created": 5}, "HHHHH"),
    ({"network": "none"}, "HHHHH"),
    ({"target": "s"}, "H"),
    ({"source_date_epoch": 5}, "MMMMMM"),
    ({"compression": "zstd"}, "MMMMMM"),
]


@pytest.mark.parametrize(("given", "found"), OPTIONS)
def test_exactly_these_steps_are_found_with_another_option(tmp_path: Path, given: dict[str, Any], found: str) -> None:
    engine = Engine(tmp_path / "cache")
    root = written(tmp_path / "context", FILES)
    _build(engine, root, LINES)
    assert _build(engine, root, LINES, **given).found == found


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_place_order_umask_and_owner_change_nothing(tmp_path: Path, umask: int) -> None:
    here = _build(Engine(tmp_path / "here"), written(tmp_path / "context", FILES), LINES)
    root = written(tmp_path / "a" / "longer" / "place", dict(reversed(FILES.items())))
    if os.getuid() == 0:
        os.chown(root / "a.txt", 7, 8)
    before = os.umask(umask)
    try:
        there = _build(Engine(tmp_path / "there"), root, LINES)
    finally:
        os.umask(before)
    assert there.image.digest == here.image.digest


THROUGH = "FROM scratch AS s\nCOPY . /s/\nFROM scratch AS m\nCOPY --from=s /s /m\nFROM scratch\nCOPY --from=m /m/f /f\n"


@pytest.mark.parametrize("epoch", [None, 1_000_000_000])
def test_a_neighbour_does_not_change_what_is_copied_on_through_stages(tmp_path: Path, epoch: int | None) -> None:
    engine, before, after = Engine(tmp_path), {b"f": b"f", b"g": b"1"}, {b"f": b"f", b"g": b"2"}
    first = engine.build(THROUGH, MemoryTree(before), source_date_epoch=epoch)
    again = engine.build(THROUGH, MemoryTree(after), source_date_epoch=epoch)
    cold = Engine(tmp_path / "cold").build(THROUGH, MemoryTree(after), source_date_epoch=epoch)
    assert (first.found, again.found) == ("MMM", "MMH")
    assert first.image.digest == again.image.digest == cold.image.digest


def test_a_copied_file_has_another_time_once_its_content_is_another(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    found = {engine.build(THROUGH, MemoryTree({b"f": text})).layers[-1][-1].mtime for text in (b"a", b"b", b"c")}
    assert len(found) == 3
    assert all(946_684_800 <= time < 1_577_836_800 for time in found)


def _layer(*found: tuple[Kind, int]) -> index.Index:
    built = index.Builder()
    for number, (kind, mtime) in enumerate(found):
        built.add(Entry(b"%d" % number, kind, 0o644, mtime=mtime, digest="11" * 32 if kind == Kind.FILE else ""))
    return built.finish()


Y2010, NOW = 1_262_304_000, 1_795_000_000


@pytest.mark.parametrize(
    ("layer", "epoch", "time"),
    [
        (_layer(), None, None),
        (_layer((Kind.DIR, Y2010), (Kind.FILE, Y2010)), None, Y2010),
        (_layer((Kind.DIR, Y2010), (Kind.FILE, NOW)), None, Y2010),
        (_layer((Kind.FILE, Y2010), (Kind.FILE, Y2010)), None, Y2010),
        (_layer((Kind.FILE, Y2010), (Kind.FILE, NOW)), None, None),
        (_layer((Kind.FILE, NOW)), None, None),
        (_layer((Kind.FILE, 5)), 5, 5),
    ],
)
def test_the_time_of_a_step_is_read_from_its_layer(layer: index.Index, epoch: int | None, time: int | None) -> None:
    assert times.of_step(layer, epoch) == time


def test_what_a_run_had_its_part_in_is_known_through_stages() -> None:
    lines = (
        "FROM scratch AS ran\nRUN x\nFROM ran AS on\nFROM scratch AS copies\nCOPY --from=on / /\n"
        "FROM scratch AS clean\nCOPY f /f\nFROM scratch\nCOPY --from=copies / /\nCOPY --from=clean / /\n"
    )
    options = Options(context=MemoryTree({b"f": b""}), platform=AMD64, build_platform=AMD64)
    plan = planner.make(df.parse(lines.encode(), "Dockerfile"), options, NoImages())
    assert [plan.has_run(steps.FromStage(n)) for n in range(4)] == [True, True, True, False]
    assert not plan.has_run(None)
