"""Lines made safe to show, put in order, written and read again."""

import pytest

from strata_builder.buildlog import text

SHOWN = [
    ("plain", "plain"),
    ("tab\tstays\r\n", "tab\tstays"),
    ("\x1b[1;31mred\x1b[0m", "red"),
    ("\x1b[2J\x1b[Hcleared", "cleared"),
    ("a\x1b]0;title\x07b", "ab"),
    ("a\x1b]0;title\x1b\\b", "ab"),
    ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1b]0;never ends", ""),
    ("\x1bP1$q\x1b\\dcs", "dcs"),
    ("\x1b(Bcharset\x1b", "charset"),
    ("\x9b31meight\x9d0;bit\x9c", "eight"),
    ("back\x08\x08\x7fspace\x00", "backspace"),
    ("\u202egnp.exe\u2066", "gnp.exe"),
    ("one\u2028two", "onetwo"),
    ("\ud800", ""),
    ("0%\r50%\r100%", "0% … 100%"),
    ("0%\r\r", "0%"),
    ("\r100%", "100%"),
    ("ünïcödé 漢字 🙂", "ünïcödé 漢字 🙂"),
]


@pytest.mark.parametrize(("given", "shown"), SHOWN)
def test_a_line_is_shown_without_what_moves_a_terminal(given: str, shown: str) -> None:
    assert text.plain(given) == shown
    assert text.plain(text.plain(given)) == shown


@pytest.mark.parametrize(
    "given", ["\x1b[" * 50_000, "\x1b]" * 50_000, "\r" * 100_000, "x\r" * 50_000, "\x1b" * 100_000]
)
def test_what_is_made_to_cost_time_costs_little_and_stays_short(given: str) -> None:
    assert len(text.plain(given)) <= text.LONGEST


def test_lines_of_several_containers_come_in_the_order_of_time() -> None:
    sources = {
        "fetch": ["2026-11-29T10:00:00Z a", "2026-11-29T10:00:02.5Z d"],
        "build": ["2026-11-29T10:00:00.25Z b", "goes on", "2026-11-29T10:00:02.51Z e", "1999-01-01T00:00:00Z lies"],
        "push": ["2026-11-29T10:00:01.123456789Z c"],
    }
    found = list(text.merged(sources))
    assert [line.text for line in found] == ["a", "b", "goes on", "c", "d", "e", "lies"]
    assert found[2].time == "2026-11-29T10:00:00.25Z"


@pytest.mark.parametrize("line", ["2026-11-29T10:00:00Z build a b", "- build a", "2026-11-29T10:00:00.5Z push "])
def test_a_line_survives_being_written_and_read(line: str) -> None:
    assert str(text.parsed(line)) == line


@pytest.mark.parametrize("line", ["", "anything", "2026-11-29T10:00:00Z \x1b[31m x", "- BUILD x", "yesterday build x"])
def test_a_line_of_somebody_else_is_text(line: str) -> None:
    found = text.parsed(line)
    assert (found.time, found.container) == ("", "")


def test_the_end_of_a_log_is_short_and_has_no_empty_lines() -> None:
    assert text.last(["a", "", "\x1b[0m", "b"]) == "a\nb"
    assert text.last([f"{n}" for n in range(50)]).split("\n") == [f"{n}" for n in range(40, 50)]
    assert len(text.last(["é" * 500] * 20).encode()) <= 1024
    assert text.last([]) == ""
