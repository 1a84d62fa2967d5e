"""Who may start next: limits, turns and ranks, beside a model that is slow and plain, and in simulations."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from strata_operator import names
from strata_operator.imagebuild import limits, queueing
from strata_operator.imagebuild.lines import Wish
from strata_operator.imagebuild.queueing import Places
from support import linecount

MAIN = names.Key("apps", "main")
SPARE = names.Key("apps", "spare")
REGISTRIES = (MAIN, SPARE)
NAMESPACES = ("a", "b", "c")


def wish(namespace: str, name: str, since: float = 0.0, priority: int = 0, registry: names.Key = MAIN) -> Wish:
    return Wish(names.Key(namespace, name), registry, queueing.rank(priority, since, name, "SpecChanged"))


class Model:
    """The same by looking at everything, each time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held: dict[names.Key, names.Key] = {}
        self.wishes: dict[names.Key, Wish] = {}
        self.most_in: dict[str, int] = {}
        self.most_to: dict[names.Key, int] = {}
        self.turns: list[str] = []  # the newest last
        self.woken: list[names.Key] = []

    def full(self, one: Wish) -> str:
        """The limit that keeps `one` waiting, empty if none does."""
        in_namespace = sum(key.namespace == one.key.namespace for key in self.held)
        to_registry = sum(registry == one.registry for registry in self.held.values())
        if self.most_in.get(one.key.namespace) and in_namespace >= self.most_in[one.key.namespace]:
            return queueing.NAMESPACE
        if self.most_to.get(one.registry) and to_registry >= self.most_to[one.registry]:
            return queueing.REGISTRY
        return queueing.CLUSTER if self.most and len(self.held) >= self.most else ""

    def order(self, one: Wish) -> tuple[object, ...]:
        namespace = one.key.namespace
        running = sum(key.namespace == namespace for key in self.held)
        served = self.turns.index(namespace) + 1 if namespace in self.turns else 0
        return running, served, namespace, one.rank, one.key

    def fill(self, asking: names.Key | None = None) -> None:
        while free := [one for one in self.wishes.values() if not self.full(one)]:
            best = min(free, key=self.order)
            self.serve(best.key.namespace)
            del self.wishes[best.key]
            self.held[best.key] = best.registry
            self.woken += [best.key] if best.key != asking else []

    def serve(self, namespace: str) -> None:
        self.turns = [other for other in self.turns if other != namespace] + [namespace]

    def claim(self, one: Wish) -> None:
        if self.held.get(one.key, one.registry) != one.registry:
            taken = sum(registry == one.registry for registry in self.held.values())
            if self.most_to.get(one.registry) and taken >= self.most_to[one.registry]:
                self.leave(one.key)
            else:
                self.hold(one.key, one.registry)
        if one.key not in self.held:
            self.wishes[one.key] = one
        self.fill(one.key)

    def hold(self, key: names.Key, registry: names.Key) -> None:
        self.wishes.pop(key, None)
        moved = self.held.get(key, registry) != registry
        self.held[key] = registry
        if moved:
            self.fill()

    def leave(self, key: names.Key) -> None:
        self.wishes.pop(key, None)
        self.held.pop(key, None)
        self.fill()

    def position(self, one: Wish) -> int:
        mine = [other for other in self.wishes.values() if other.key.namespace == one.key.namespace]
        return sum((other.rank, other.key) <= (one.rank, one.key) for other in mine)


KEYS = strategies.builds(names.Key, strategies.sampled_from(NAMESPACES), strategies.sampled_from("uvwxyz"))
LIMIT = strategies.integers(0, 3)
WISHES = strategies.builds(
    Wish,
    KEYS,
    strategies.sampled_from(REGISTRIES),
    strategies.tuples(strategies.integers(-1, 1).map(float), strategies.integers(0, 2).map(float), strategies.just("")),
)


class AnySequence(RuleBasedStateMachine):
    """Claims, ends, forced starts and changed limits in any order; and an operator that starts anew in between."""

    @initialize(most=LIMIT)
    def begin(self, most: int) -> None:
        self.woken: list[names.Key] = []
        self.places = Places(most, wake=self.woken.append)
        self.model = Model(most)

    @rule(one=WISHES)
    def claim(self, one: Wish) -> None:
        """Limits come with every claim, as they do in the operator."""
        self.places.limit_namespace(one.key.namespace, self.model.most_in.get(one.key.namespace, 0))
        self.places.limit_registry(one.registry, self.model.most_to.get(one.registry, 0))
        found = self.places.claim(one)
        self.model.claim(one)
        if one.key in self.model.held:
            assert found is None
            return
        assert found is not None
        assert (found.position, found.limit) == (self.model.position(one), self.model.full(one))
        assert found.waiting == len(self.model.wishes)

    @rule(key=KEYS)
    def leave(self, key: names.Key) -> None:
        self.places.leave(key)
        self.model.leave(key)

    @rule(key=KEYS, registry=strategies.sampled_from(REGISTRIES))
    def hold(self, key: names.Key, registry: names.Key) -> None:
        self.places.hold(key, registry)
        self.model.hold(key, registry)

    @rule(one=WISHES, most=LIMIT)
    def limit_namespace(self, one: Wish, most: int) -> None:
        self.model.most_in[one.key.namespace] = most
        self.claim(one)

    @rule(one=WISHES, most=LIMIT)
    def limit_registry(self, one: Wish, most: int) -> None:
        self.model.most_to[one.registry] = most
        self.claim(one)

    @rule(seed=strategies.randoms())
    def restart(self, seed: random.Random) -> None:
        """What the statuses tell, in any order, makes the same queue."""
        held, wishes = list(self.model.held.items()), list(self.model.wishes.values())
        seed.shuffle(held)
        seed.shuffle(wishes)
        self.places = Places(self.model.most, wake=self.woken.append)
        for namespace, most in self.model.most_in.items():
            self.places.limit_namespace(namespace, most)
        for registry, most in self.model.most_to.items():
            self.places.limit_registry(registry, most)
        self.places.restore(held, wishes, self.model.turns)
        self.model.fill()

    @invariant()
    def nothing_is_lost_or_leaked(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.woken == self.model.woken
        assert (self.places.running, self.places.waiting) == (len(self.model.held), len(self.model.wishes))
        assert all(self.places.holds(key) for key in self.model.held)

    @invariant()
    def no_place_is_free_for_one_that_waits(self) -> None:
        if hasattr(self, "model"):
            assert all(self.model.full(one) for one in self.model.wishes.values())


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(claims=strategies.lists(WISHES, max_size=40), most=LIMIT, inner=LIMIT, outer=LIMIT)
@settings(deadline=None)
def test_no_limit_is_ever_passed_and_all_come_to_their_turn(claims, most, inner, outer):
    queue: list[names.Key] = []
    places = Places(most, wake=queue.append)
    running: dict[names.Key, names.Key] = {}
    wanted = {one.key: one for one in claims}
    for one in wanted.values():
        places.limit_namespace(one.key.namespace, inner)
        places.limit_registry(one.registry, outer)
        if places.claim(one) is None:
            running[one.key] = one.registry
    done: set[names.Key] = set()
    while running:
        assert not most or len(running) <= most
        assert not inner or max(Counter(key.namespace for key in running).values()) <= inner
        assert not outer or max(Counter(running.values()).values()) <= outer
        ended = min(running)
        del running[ended]
        done.add(ended)
        places.leave(ended)
        running |= {key: wanted[key].registry for key in queue}
        queue.clear()
    assert done == wanted.keys()
    assert (places.running, places.waiting) == (0, 0)


# -- fairness, simulated --


def simulate(
    waiting: Iterable[Wish], most: int, rounds: int, later: Iterable[Wish] = (), **inner: int
) -> list[names.Key]:
    """Who starts, in order: every build takes one round; `later` come when the first have begun."""
    started: list[names.Key] = []
    places = Places(most, wake=started.append)
    for namespace, limit in inner.items():
        places.limit_namespace(namespace, limit)
    started += [one.key for one in waiting if places.claim(one) is None]
    for one in later:
        assert places.claim(one) is not None
    for _ in range(rounds):
        running = [key for key in started if places.holds(key)]
        for key in running:
            places.leave(key)
    return started


def test_a_namespace_with_two_thousand_waiting_builds_does_not_keep_one_with_a_single_build_waiting():
    crowd = [wish("crowd", f"b{n:04}", since=n, priority=1000) for n in range(2000)]
    started = simulate(crowd, 4, 1, later=[wish("lone", "only", since=9999.0)])
    assert [key.namespace for key in started[:5]] == ["crowd"] * 4 + ["lone"]


def test_namespaces_that_want_much_share_alike_however_much_they_want_and_claim_to_matter():
    crowd = [wish("crowd", f"b{n:04}", since=n, priority=1000) for n in range(2000)]
    others = [wish(name, f"b{n:02}", since=5000.0 + n) for name in ("few", "some") for n in range(20)]
    started = simulate(crowd, 6, 10, later=others)[6:]
    shares = Counter(key.namespace for key in started[:60])
    assert shares == {"crowd": 20, "few": 20, "some": 20}
    assert [key.name for key in started if key.namespace == "few"] == sorted(f"b{n:02}" for n in range(20))


def test_one_place_goes_round():
    """With a single place all have none running: whose turn was longest ago is next."""
    crowd = [wish("crowd", f"b{n}", since=n) for n in range(10)]
    others = [wish(name, f"b{n}", since=100.0) for name in ("p", "q") for n in range(3)]
    started = simulate(crowd, 1, 9, later=others)
    assert [key.namespace for key in started] == ["crowd", *["p", "q", "crowd"] * 3]


def test_a_namespace_at_its_limit_leaves_its_places_to_others():
    crowd = [wish("crowd", f"b{n:04}", since=n) for n in range(100)]
    started: list[names.Key] = []
    places = Places(10, wake=started.append)
    places.limit_namespace("crowd", 2)
    found = [places.claim(one) for one in crowd]
    assert [one and one.limit for one in found[:4]] == [None, None, "Namespace", "Namespace"]
    assert found[3] == queueing.Standing(2, "Namespace", 2, 2)
    assert [places.claim(wish("other", f"b{n}")) for n in range(8)] == [None] * 8
    assert places.claim(wish("other", "b9")) == queueing.Standing(1, "Cluster", 10, 99)
    places.limit_namespace("crowd", 3)
    places.leave(names.Key("other", "b0"))
    assert started == [names.Key("crowd", "b0002")]


def test_what_waits_for_a_full_registry_holds_up_nothing_else():
    places = Places(0)
    places.limit_registry(MAIN, 1)
    assert places.claim(wish("a", "first")) is None
    assert places.claim(wish("a", "urgent", priority=9)) == queueing.Standing(1, "Registry", 1, 1)
    assert places.claim(wish("b", "too")) == queueing.Standing(1, "Registry", 1, 2)
    assert places.claim(wish("a", "elsewhere", since=99.0, registry=SPARE)) is None


def test_within_a_namespace_priority_comes_first_and_then_arrival():
    places = Places(1)
    assert places.claim(wish("a", "runs")) is None
    names_by_rank = [
        wish("a", "late", 9.0, 5),
        wish("a", "early", 1.0, 5),
        wish("a", "old", 0.5),
        wish("a", "low", 0.0, -1),
    ]
    for one in reversed(names_by_rank):
        places.claim(one)
    positions = [places.claim(one) for one in names_by_rank]
    assert [one and one.position for one in positions] == [2, 1, 3, 4]


def test_what_a_person_waits_for_comes_before_what_comes_by_itself_for_ten_minutes():
    person = queueing.rank(0, 1000.0, "p", "SpecChanged")
    wave = [queueing.rank(0, since, "w", reason) for since in (500.0, 399.0) for reason in sorted(queueing.AUTOMATIC)]
    assert [person < one for one in wave] == [True, True, False, False]
    assert queueing.rank(1, 5000.0, "w", "Scheduled") < person


def test_a_place_that_is_held_is_held_again_and_without_limits_all_start():
    places = Places(1)
    assert [places.claim(wish("a", "x")) for _ in range(3)] == [None] * 3
    assert places.running == 1
    free = Places(0)
    assert {free.claim(wish("a", str(n))) for n in range(50)} == {None}


def test_a_place_is_taken_along_to_another_registry_that_has_one_and_given_back_before_one_that_is_full():
    places = Places(2)
    for registry in (MAIN, SPARE):
        places.limit_registry(registry, 1)
    assert places.claim(wish("a", "main")) is None
    assert places.claim(wish("a", "moves", registry=SPARE)) is None
    stands = places.claim(wish("a", "moves"))  # the spec names another Registry by now
    assert stands is not None
    assert (stands.limit, stands.most) == (queueing.REGISTRY, 1)
    assert places.claim(wish("b", "spare", registry=SPARE)) is None  # nobody builds for it any more
    places.leave(names.Key("a", "main"))
    assert places.holds(names.Key("a", "moves"))
    places.leave(names.Key("b", "spare"))
    assert places.claim(wish("a", "moves", registry=SPARE)) is None
    assert places.claim(wish("b", "main")) is None


def test_a_place_of_a_pod_whose_registry_is_not_known_counts_for_the_one_that_is_built_for_next():
    places = Places(0)
    places.restore([(names.Key("a", "x"), names.Key("", ""))], [])
    places.limit_registry(MAIN, 1)
    assert places.claim(wish("a", "x")) is None
    stands = places.claim(wish("a", "y"))
    assert stands is not None
    assert stands.limit == queueing.REGISTRY


def test_names_of_namespaces_and_registries_that_are_gone_are_forgotten():
    places = Places(1)
    for n in range(300):
        registry = names.Key(f"n{n}", "main")
        places.limit_namespace(f"n{n}", 1)
        places.limit_registry(registry, 1)
        places.claim(wish(f"n{n}", "x", registry=registry))
    for n in range(300):
        places.leave(names.Key(f"n{n}", "x"))
    left = (places._lines, places._registries, places._in_namespace, places._most_in, places._tops.items, places._held)
    assert [len(one) for one in left] == [0] * 6


@pytest.mark.parametrize("shape", ["one namespace", "one a namespace", "one registry, full"])
def test_a_look_costs_no_more_lines_among_ten_thousand_than_among_a_hundred(shape):
    def effort(waiting: int) -> int:
        places = Places(1)
        inner = 1 if shape == "one registry, full" else 0
        places.limit_registry(MAIN, inner)
        for n in range(waiting):
            places.claim(wish(f"n{n}" if shape != "one namespace" else "n", f"b{n:05}", since=n))
        first = names.Key("n0" if shape != "one namespace" else "n", "b00000")
        return linecount.lines_run(lambda: (places.leave(first), places.claim(wish("new", "b"))), "strata_operator")

    assert effort(10_000) <= effort(100)


# -- what is shown --


def test_a_position_is_exact_where_it_matters():
    shown = [
        queueing.Standing(n, "Cluster", 1, n).shown for n in (1, 9, 10, 11, 20, 21, 99, 100, 101, 250, 1999, 10_000)
    ]
    assert shown == [1, 9, 10, 20, 20, 30, 100, 100, 200, 300, 2000, 10_000]


def test_all_that_wait_are_looked_at_at_most_twenty_times_a_second():
    one_queue = sum(1 / queueing.Standing(n, "Cluster", 1, 10_000).look_again for n in range(1, 10_001))
    many_queues = 1000 * sum(1 / queueing.Standing(n, "Cluster", 1, 10_000).look_again for n in range(1, 11))
    assert max(one_queue, many_queues) <= 20.1
    assert queueing.Standing(3, "Cluster", 1, 5).look_again == 30


# -- limits and pauses of objects --


def annotated(**notes: str) -> dict[str, object]:
    return {
        "metadata": {
            "name": "team",
            "annotations": {f"strata.build/{k.replace('_', '-')}": v for k, v in notes.items()},
        }
    }


@pytest.mark.parametrize(
    ("namespace", "most"),
    [(None, 7), (annotated(), 7), (annotated(max_builds="2"), 2), (annotated(max_builds=" 12 "), 12),
     (annotated(max_builds="0"), 0), (annotated(max_builds="-1"), 7), (annotated(max_builds="many"), 7),
     (annotated(max_builds="9" * 30), 7)],
)  # fmt: skip
def test_a_namespaces_annotation_comes_before_the_charts_limit_if_it_is_a_number(namespace, most):
    assert limits.of_namespace(namespace, 7) == most


@pytest.mark.parametrize(
    ("everywhere", "namespace", "said"),
    [("", None, None), ("false", annotated(paused="false"), None), ("", annotated(paused=""), None),
     ("true", None, "all builds of the cluster are paused:"),
     ("storage moves\nuntil  Monday", annotated(paused="true"), "cluster are paused (storage moves until Monday):"),
     ("", annotated(paused="true"), "of this namespace are paused:"),
     ("false", annotated(paused="month's end"), "of this namespace are paused (month's end):")],
)  # fmt: skip
def test_a_pause_says_whose_it_is_and_why(everywhere, namespace, said):
    found = limits.paused(everywhere, namespace)
    assert (said in found) if said else found == ""


def test_a_reason_of_somebody_is_shown_in_part_only():
    assert len(limits.paused("x" * 5000, None)) < 400


def test_a_registrys_limit_is_read_from_its_spec():
    assert limits.of_registry(None) == 0
    assert limits.of_registry({"spec": {"external": {}}}) == 0
    assert limits.of_registry({"spec": {"builds": {"maxConcurrent": 3}}}) == 3


def test_a_wish_is_a_value():
    assert dataclasses.replace(wish("a", "x"), rank=(0.0, 0.0, "x")) == wish("a", "x")
