"""What an operator remembers, and what it takes for granted when it has just started."""

from strata_operator.imagebuild import memory

HOUR = 3600.0


def test_what_was_learnt_is_known_for_a_while():
    now = [1000.0]
    known = memory.Memory(lambda: now[0])
    known.learn("a", 1)
    now[0] += HOUR
    assert (known.recall("a", HOUR), known.recall("b", HOUR)) == (1, None)
    now[0] += 1
    assert known.recall("a", HOUR) is None


def test_ten_thousand_things_that_are_taken_for_granted_are_asked_about_one_after_another():
    now = [1000.0]
    known = memory.Memory(lambda: now[0])
    assert all(known.expect(i, True, 6 * HOUR) for i in range(10_000))
    due = []
    for _ in range(6):
        now[0] += HOUR
        due.append(sum(known.expect(i, True, 6 * HOUR) is None for i in range(10_000)))
    steps = [after - before for before, after in zip([0, *due], due, strict=False)]
    assert due[-1] == 10_000
    assert all(1000 < step < 2400 for step in steps), steps


def test_what_is_known_is_not_taken_for_granted_again():
    now = [1000.0]
    known = memory.Memory(lambda: now[0])
    known.learn("a", False)
    assert known.expect("a", True, HOUR) is False
