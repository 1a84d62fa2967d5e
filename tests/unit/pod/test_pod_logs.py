"""What a container prints: on its own output and in a bounded file, line by line, secrets masked."""

import io
import os
import threading
from pathlib import Path

import pytest

from strata_builder import contract
from strata_builder.buildlog import segments, text
from strata_builder.pod import keeping, logs
from strata_builder.pod.paths import Paths
from support import pods

SMALL = segments.Limits(head=100, tail=1000)


def test_text_that_comes_in_pieces_is_kept_line_by_line(tmp_path: Path) -> None:
    out, log = io.StringIO(), logs.Log(tmp_path / "log")
    stream = logs.Stream(log, out)
    for piece in ("one", " line\ntwo", "\n", "\nrest"):
        print(piece, end="", file=stream)
    stream.finish()
    log.close()
    assert out.getvalue() == "one line\ntwo\n\nrest\n"
    lines = list(text.of_container("build", segments.read(tmp_path / "log")))
    assert [line.text for line in lines] == ["one line", "two", "", "rest"]
    assert all(line.time.endswith("Z") for line in lines)


def test_a_secret_is_masked_line_by_line_however_the_text_is_cut(tmp_path: Path) -> None:
    out, log = io.StringIO(), logs.Log(tmp_path / "log")
    log.hide([b"longer-secret\nshort\n", b"longer-secret-still", b""])
    stream = logs.Stream(log, out)
    for piece in ("a longer-sec", "ret and longer-secret-still and short\n"):
        stream.write(piece)
    log.close()
    assert out.getvalue() == "a *** and *** and short\n"  # five letters are too few to tell them from words
    assert "longer" not in (tmp_path / "log/head").read_text()
    assert log.tail() == "a *** and *** and short"


@pytest.mark.parametrize(
    "printed",
    ["token: s3c\x1b[01;31m\x1b[Kret-va\x1b[m\x1b[Klue", "token: s3cret\b-value", "50%\rtoken: s3cret\x00-value"],
)
def test_a_secret_is_masked_also_where_what_whoever_shows_it_takes_out_parts_it(tmp_path: Path, printed: str) -> None:
    """As grep --color does."""
    out, log = io.StringIO(), logs.Log(tmp_path / "log")
    log.hide([b"s3cret-value"])
    log.line(printed, out)
    log.line("\x1b[32mgood\x1b[m", out)
    log.close()
    (kept, _) = text.of_container("build", segments.read(tmp_path / "log"))
    assert kept.text.endswith("token: ***")
    first, second = out.getvalue().splitlines()
    assert text.plain(first) == kept.text
    assert second == "\x1b[32mgood\x1b[m"
    assert log.tail() == f"{kept.text}\ngood"


def test_a_disk_that_is_full_ends_the_kept_log_and_nothing_else(tmp_path: Path) -> None:
    """/dev/full refuses every write."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log/head").symlink_to("/dev/full")
    out, log = io.StringIO(), logs.Log(tmp_path / "log")
    stream = logs.Stream(log, out)
    stream.write("first\nsecond\n")
    stream.write("third\n")
    assert out.getvalue() == "first\nsecond\nthird\n"
    assert "not kept" in log.tail()


def test_a_place_that_cannot_be_written_to_costs_the_kept_log_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    out, log = io.StringIO(), logs.Log(tmp_path / "log")
    logs.Stream(log, out).write("shown\n")
    assert out.getvalue() == "shown\n"
    assert "not kept" in log.tail()


def wrote(folder: Path, count: int, limits: segments.Limits = SMALL) -> list[str]:
    writer = segments.Writer(folder, limits)
    for number in range(count):
        writer.write(b"%06d\n" % number)
    writer.close()
    return list(segments.read(folder, limits))


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 157, 158, 300, 301, 302, 1000, 12_345])
def test_both_ends_are_kept_and_what_is_left_out_is_counted(tmp_path: Path, count: int) -> None:
    lines = wrote(tmp_path, count)
    gaps = [line for line in lines if line.startswith("…")]
    numbers = [int(line) for line in lines if not line.startswith("…")]
    assert numbers == sorted(set(numbers))
    assert numbers[:14] == list(range(min(count, 14)))
    assert not count or numbers[-1] == count - 1
    left_out = sum(int(gap.split()[1]) for gap in gaps)
    assert 7 * len(numbers) + left_out == 7 * count
    assert bool(gaps) == (len(numbers) < count)
    if count > 1000:
        assert len(numbers) >= 14 + 1000 // 7
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100 + 2 * 1000 + 100


def test_a_line_longer_than_all_room_does_not_break_the_bound(tmp_path: Path) -> None:
    writer = segments.Writer(tmp_path, SMALL)
    for _ in range(5):
        writer.write(b"x" * 5000 + b"\n")
    writer.write(b"end\n")
    writer.close()
    lines = list(segments.read(tmp_path, SMALL))
    assert lines[-1] == "end"
    assert sum(map(len, lines)) < 1200


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "head")


def _link(folder: Path) -> None:
    (folder / "head").symlink_to("/etc/passwd")


def _folder(folder: Path) -> None:
    (folder / "head").mkdir()


def _numbers(folder: Path) -> None:
    (folder / "older").write_bytes(b"@999999999999999\n" + b"\xff\x00" * 3_000_000)
    (folder / "newer").write_bytes(b"@0\nlast")


def _no_offset(folder: Path) -> None:
    (folder / "newer").write_bytes(b"@-5\nx")


def _huge(folder: Path) -> None:
    with (folder / "head").open("wb") as file:
        file.truncate(1 << 40)


def _endless(folder: Path) -> None:
    (folder / "newer").write_bytes(b"@0\n" + b"x" * 3_000_000)


@pytest.mark.parametrize("spoil", [_fifo, _link, _folder, _numbers, _no_offset, _huge, _endless])
def test_whatever_a_hostile_writer_leaves_is_bounded_and_nobody_elses(tmp_path: Path, spoil) -> None:
    paths = Paths(tmp_path)
    paths.log("build").mkdir(parents=True)
    spoil(paths.log("build"))
    writer = segments.Writer(paths.log("push"))
    writer.write(b"2026-11-29T10:00:00.5Z pushed\n")
    writer.close()
    lines = keeping.lines(paths)
    assert sum(map(len, lines)) < 3 << 20
    assert "2026-11-29T10:00:00.5Z push pushed" in lines
    assert not any("root:" in line for line in lines)


def test_a_folder_that_is_a_link_is_no_log(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    wrote(tmp_path / "elsewhere", 3)
    paths.outputs.mkdir()
    paths.log("build").symlink_to(tmp_path / "elsewhere")
    assert keeping.lines(paths) == []


@pytest.mark.parametrize("made", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), Path.mkdir])
def test_nobody_waits_for_what_a_step_has_put_in_the_place_of_a_lock(tmp_path: Path, made) -> None:
    paths = Paths(tmp_path)
    folder = paths.writes_log("build")
    folder.mkdir(parents=True)
    (folder / "started").touch()
    made(folder / "lock")
    slept: list[float] = []
    keeping._await_others(paths, sleep=slept.append)
    assert slept == []


def test_a_pod_that_may_have_no_more_threads_loses_its_log_and_not_its_build(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    asked = pods.request("registry.example", log=contract.KeptLog("cache-log-0123456789"))
    keeping.keep(asked, Paths(tmp_path), good=True, hurry=False)
    assert capsys.readouterr().err == "warning: the log is not kept: can't start new thread\n"
