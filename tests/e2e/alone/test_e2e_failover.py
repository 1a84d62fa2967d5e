"""How long nobody acts when the operator that acts is killed, or told to end, with another one standing by."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator

import pytest

from support import costs, e2e, faults, kubectl, outside

ROUNDS = 7
pytestmark = pytest.mark.skipif(
    not faults.LONG, reason="`make test-faults` runs it; tests/integration/operator has it in small"
)
PORT = 18092


@pytest.fixture(scope="module")
def pair(strata, own_node, home, tmp_path_factory) -> Iterator[list[outside.Operator]]:
    """Two operators with the release's settings, of which the first acts; none of the release's own."""
    folder = tmp_path_factory.mktemp("pair")
    config, given = outside.direct(strata, folder), outside.settings(strata)
    made = [
        outside.Operator(strata.where, folder, config, given, PORT + n, name=f"one-{n}", identity=f"one-{n}")
        for n in range(2)
    ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(outside.instead(strata))
        for one in made:
            stack.callback(one.close)
        made[0].start()
        kubectl.until(lambda: acts(made[0]), what="that the first acts")
        yield made


def acts(operator: outside.Operator) -> bool:
    return "strata_leader 1.0" in operator.metrics()


def stands_by(operator: outside.Operator) -> bool:
    """It knows the cluster."""
    return operator.metrics("readyz") == "ok\n" and "strata_leader 0.0" in operator.metrics()


@pytest.mark.parametrize("way", ["killed", "told to end"])
def test_the_other_one_acts(home, jobs, pair, request, way):
    seconds = []
    for turn in range(ROUNDS):
        first, second = pair
        second.start()
        kubectl.until(lambda second=second: stands_by(second), what="that the second stands by")
        name = f"{way.replace(' ', '-')}-{turn}"
        first.kill() if way == "killed" else first.end()
        began = time.monotonic()
        home.apply(e2e.image_build(name, "FROM busybox:1.36\nLABEL a=b\n"))
        home.until("a Job", lambda name=name: home.jobs(name), name=name)
        seconds.append(time.monotonic() - began)
        assert acts(second)
        home.wait(name)
        assert {key[1:]: len(made) for key, made in jobs.attempts(name).items()} == {(1, 1): 1}
        pair.reverse()
    shown = ", ".join(f"{s:.1f}" for s in sorted(seconds))
    line = (
        f"failover, the acting operator {way}: median {statistics.median(seconds):.1f} s until the other has made a Job"
    )
    costs.report(request, f"{line} ({ROUNDS} times: {shown})")
