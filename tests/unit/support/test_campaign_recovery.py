"""The table of a campaign: to which faults builds and what is wrong with them count, and which times it tells."""

from __future__ import annotations

from support.campaign import problems, recovery

KILLED, CUT = "operator killed", "watches cut"
KINDS = (KILLED, CUT, "clock set")


def asking(name: str, began: float, ended: float | None = None) -> recovery.Asking:
    return recovery.Asking(name, began, ended - 0.4 if ended else began, ended)


def rows(
    made: list[recovery.Fault], asked: list[recovery.Asking], found: list[problems.Problem] | None = None
) -> dict[str, list[str]]:
    lines = recovery.table(KINDS, made, asked, found or [])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == [*recovery.HEAD]
    return {row[0]: row[1:] for row in cells[2:]}


def test_every_kind_has_a_row_and_all_have_one() -> None:
    assert [*rows([], [])] == [*KINDS, "all of them"]


def test_a_build_counts_for_the_faults_that_were_made_while_it_was_under_way() -> None:
    made = [recovery.Fault(KILLED, 10, 10), recovery.Fault(CUT, 20, 28), recovery.Fault(CUT, 30, 31)]
    asked = [
        asking("before", 1, 9), asking("one", 5, 15), asking("both", 9, 22),
        asking("within", 21, 27), asking("lost", 29),
    ]  # fmt: skip
    found = rows(made, asked)
    assert [found[kind][:2] for kind in KINDS] == [["1", "2"], ["2", "3"], ["0", "0"]]
    assert found["all of them"][:2] == ["3", "5"]


def test_what_is_wrong_counts_for_the_faults_that_met_its_imagebuild_and_once_in_all() -> None:
    made = [recovery.Fault(KILLED, 10, 10), recovery.Fault(KILLED, 11, 11), recovery.Fault(CUT, 12, 12)]
    asked = [asking("a", 9, 14), asking("b", 11.5, 13)]
    found = rows(
        made,
        asked,
        [
            problems.Problem(problems.LOST, "", "a"),
            problems.Problem(problems.TWICE, "", "b"),
            problems.Problem(problems.DIGEST, "", "a"),
            problems.Problem(problems.STATUS, "of nobody"),
        ],
    )
    assert [found[kind][2:6] for kind in KINDS] == [["1", "0", "1", "0"], ["1", "1", "1", "0"], ["0"] * 4]
    assert found["all of them"][2:6] == ["1"] * 4


def test_recovery_is_told_from_the_end_of_the_fault_to_the_next_and_to_the_last_that_was_under_way() -> None:
    made = [recovery.Fault(KILLED, 10, 10), recovery.Fault(CUT, 20, 28), recovery.Fault(KILLED, 50, 50)]
    asked = [
        asking("first", 5, 15), asking("last", 9, 40), asking("later", 11, 12),
        asking("in time", 21, 27), asking("seen late", 9, 28.3), asking("after", 49, 52), asking("lost", 9),
    ]  # fmt: skip
    found = rows(made, asked)
    assert found[KILLED][6:] == ["5 s", "30 s"]
    assert found[CUT][6:] == ["12 s", "12 s"]
    assert found["clock set"][6:] == ["0 s", "0 s"]
    assert found["all of them"][6:] == ["12 s", "30 s"]
