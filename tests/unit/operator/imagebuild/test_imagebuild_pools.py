"""Which sources are looked at when: pools over all ImageBuilds, moments, hints, what is news. No clock, no network."""

import itertools
from typing import Any

import pytest

from strata_builder import contract
from strata_operator import names
from strata_operator.imagebuild import questions
from strata_operator.imagebuild.triggers import pools

NOW = 1_800_000_000.0
URL = "https://git.example/team/app.git"
OLD, NEW = "a" * 40, "b" * 40
DOWN = contract.Failure("SourceUnavailable", "down", retryable=True)


def interest(name: str = "web", **fields: Any) -> pools.Interest:
    values: dict[str, Any] = {
        "key": names.Key("team", name),
        "url": URL,
        "revision": "main",
        "secret": "",
        "interval": 300.0,
        "commit": OLD,
        "checked": NOW,
    }
    return pools.Interest(**(values | fields))


def resolved(commit: str = OLD, at: float = NOW) -> questions.Resolved:
    return questions.Resolved(commit, "refs/heads/main", checked=at)


class Clocked:
    """Pools whose sources are asked when it is their time; `asked` are the moments, by URL."""

    def __init__(self, *interests: pools.Interest, now: float = NOW) -> None:
        self.pools = pools.Pools()
        self.now = now
        self.asked: dict[str, list[float]] = {}
        self.served: dict[names.Key, list[float]] = {}
        self.outcome: pools.Outcome = resolved()
        for one in interests:
            self.pools.watch(one, now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            waits = {p.url: p.wait(self.now) for p in self.pools.matching(lambda *_: True)}
            wait = min(waits.values())
            if self.now + wait > end:
                self.now = end
                return
            self.now += wait
            for url, its in waits.items():
                if its == wait:
                    self.ask(url)

    def ask(self, url: str) -> list[names.Key]:
        pool = self.pools.get(url)
        assert pool is not None
        wanted = pool.begin(self.now)
        self.asked.setdefault(url, []).append(self.now)
        for one in wanted:
            self.served.setdefault(one.key, []).append(self.now)
        return self.pools.answered(pool, self.now, [(one.key, self.outcome) for one in wanted])


def test_all_of_one_url_are_one_look_whatever_their_revisions():
    made = Clocked(*(interest(f"web{n}", revision=f"v{n}") for n in range(50)))
    made.run(3600)
    assert len(made.pools) == 1
    assert len(made.asked[URL]) in (11, 12)
    assert all(moments == made.asked[URL] for moments in made.served.values())


def test_the_shortest_interval_counts_and_each_is_served_in_its_own():
    made = Clocked(interest("often", interval=60.0), interest("rarely", interval=3600.0))
    made.run(6 * 3600)
    assert len(made.asked[URL]) in (359, 360)
    often, rarely = (made.served[names.Key("team", name)] for name in ("often", "rarely"))
    assert often == made.asked[URL]
    assert len(rarely) in (5, 6)
    gaps = [b - a for a, b in itertools.pairwise(rarely)]
    assert all(3600 - 60 <= gap <= 3600 + 60 for gap in gaps)


def test_nobody_is_asked_more_often_than_somebody_wanted():
    made = Clocked(interest(interval=300.0))
    made.run(24 * 3600)
    gaps = [b - a for a, b in itertools.pairwise(made.asked[URL])]
    assert all(299.9 < gap < 300.1 for gap in gaps)


def test_five_thousand_repositories_are_spread_evenly_and_a_restart_moves_none():
    urls = [f"https://git.example/team/app{n}.git" for n in range(5000)]
    made = Clocked(*(interest(f"web{n}", url=url, checked=NOW - 150) for n, url in enumerate(urls)))
    waits = {url: made.pools.get(url).wait(NOW) for url in urls}  # type: ignore[union-attr]
    buckets = [0] * 30
    for wait in waits.values():
        assert 0 <= wait <= 300
        buckets[min(int(wait // 10), 29)] += 1
    assert 0.7 * 5000 / 30 < min(buckets) <= max(buckets) < 1.3 * 5000 / 30
    again = Clocked(*(interest(f"web{n}", url=url, checked=NOW - 150) for n, url in enumerate(urls)), now=NOW + 20)
    for url, wait in waits.items():
        if wait >= 20:
            assert again.pools.get(url).wait(NOW + 20) == pytest.approx(wait - 20, abs=1e-3)  # type: ignore[union-attr]


@pytest.mark.parametrize("away", [0.0, 5.0, 3600.0, 86_400.0 * 30])
def test_after_a_restart_nobody_is_asked_at_once(away):
    """Whenever the sources were asked last, or never: within an interval, each at its moment."""
    urls = [f"https://git.example/team/app{n}.git" for n in range(1000)]
    checked = 0.0 if away > 86_400 else NOW - away
    made = Clocked(*(interest(f"web{n}", url=url, checked=checked) for n, url in enumerate(urls)))
    waits = sorted(made.pools.get(url).wait(NOW) for url in urls)  # type: ignore[union-attr]
    assert sum(wait < 10 for wait in waits) < 80
    assert waits[-1] <= 450


def test_what_was_looked_at_a_moment_ago_is_left_for_half_an_interval():
    made = Clocked(interest(checked=NOW - 1))
    made.run(600)
    assert made.asked[URL][0] >= NOW - 1 + 150


@pytest.mark.parametrize("ahead", [1.0, 3600.0, 86_400.0])
def test_a_clock_that_is_set_back_delays_no_look_and_the_next_is_written(ahead):
    """Whether it was this operator's that was ahead, or that of the one before, which the status is of."""
    status = interest(checked=NOW + ahead)
    before = Clocked(interest(checked=0.0), now=NOW + ahead)
    before.ask(URL)
    before.now = NOW
    before.pools.watch(status, NOW)
    for made in (before, Clocked(status)):
        made.asked.clear()
        for _ in range(45):
            made.run(10)
            made.pools.watch(status, made.now)  # its ImageBuild is looked at again and again
        assert len(made.asked[URL]) >= 1
        assert made.served[status.key][-1] == made.asked[URL][-1]
        made.run(450)
        again = made.pools.known(status.key, URL, "main", "", made.now)
        assert isinstance(again, questions.Resolved)
        assert again.checked is not None


def test_a_thousand_hints_are_one_look_and_one_after():
    made = Clocked(interest(interval=3600.0))
    made.run(60)
    pool = made.pools.get(URL)
    assert pool is not None
    made.asked.clear()
    for _ in range(1000):
        pool.hinted = True
        made.run(0.01)
    made.run(60)
    assert len(made.asked[URL]) == 2
    assert made.asked[URL][1] - made.asked[URL][0] == pytest.approx(pools.BETWEEN)


def test_a_hint_serves_all_of_a_pool_at_once_and_only_pools_that_match():
    made = Clocked(
        interest("a", interval=3600.0), interest("b", interval=60.0), interest("c", url="https://other.example/c")
    )
    found = list(made.pools.matching(lambda key, url: key.name == "a" and "git.example" in url))
    assert [pool.url for pool in found] == [URL]
    found[0].hinted = True
    assert found[0].wait(NOW + 60) == 0
    assert {one.key.name for one in found[0].begin(NOW + 60)} == {"a", "b"}
    assert not found[0].hinted


def test_a_hint_that_comes_while_the_source_is_asked_is_not_lost():
    made = Clocked(interest())
    pool = made.pools.get(URL)
    assert pool is not None
    wanted = pool.begin(NOW + 60)
    pool.hinted = True
    made.pools.answered(pool, NOW + 61, [(one.key, resolved()) for one in wanted])
    assert pool.wait(NOW + 61) == pools.BETWEEN


def test_only_a_new_commit_wakes():
    made = Clocked(interest())
    made.now = NOW + 60
    made.pools.get(URL).hinted = True  # type: ignore[union-attr]
    assert made.ask(URL) == []
    made.outcome = resolved(NEW)
    made.pools.get(URL).hinted = True  # type: ignore[union-attr]
    assert made.ask(URL) == [names.Key("team", "web")]
    assert made.pools.known(names.Key("team", "web"), URL, "main", "", made.now) == resolved(NEW)


def test_a_failure_wakes_once_and_its_end_once():
    made = Clocked(interest())
    key = names.Key("team", "web")
    made.now += 400
    made.outcome = DOWN
    assert made.ask(URL) == [key]
    made.pools.watch(interest(fails=True), made.now)
    made.now += 400
    assert made.ask(URL) == []
    made.outcome = contract.Failure("SourceAuthFailed", "no")
    made.now += 400
    assert made.ask(URL) == [key]
    made.outcome = resolved()
    made.now += 400
    assert made.ask(URL) == [key]


def test_what_goes_on_failing_is_asked_ever_more_rarely():
    made = Clocked(interest(interval=60.0))
    made.outcome = DOWN
    made.run(86_400)
    gaps = [b - a for a, b in itertools.pairwise(made.asked[URL])]
    assert max(gaps) <= 1800 * 1.5
    assert len(made.asked[URL]) < 60
    made.outcome = resolved()
    made.run(3600)
    before = len(made.asked[URL])
    made.run(3600)
    assert 59 <= len(made.asked[URL]) - before <= 61


def test_the_time_of_a_look_is_written_each_time_for_a_few_and_rarely_for_thousands():
    few = Clocked(interest())
    few.now += 300
    few.outcome = resolved(at=few.now)
    assert few.ask(URL) == [names.Key("team", "web")]
    assert few.pools.known(names.Key("team", "web"), URL, "main", "", few.now) == few.outcome
    many = Clocked(*(interest(f"web{n}", url=f"{URL}{n}") for n in range(5000)))
    many.now += 300
    many.outcome = resolved(at=many.now)
    assert many.ask(f"{URL}7") == []
    found = many.pools.known(names.Key("team", "web7"), f"{URL}7", "main", "", many.now)
    assert found == questions.Resolved(OLD, "refs/heads/main")  # nothing to write
    many.now += 5000
    many.outcome = resolved(at=many.now)
    assert many.ask(f"{URL}7") == [names.Key("team", "web7")]


def test_what_was_found_is_only_for_the_source_that_was_asked():
    made = Clocked(interest())
    made.now += 400
    made.ask(URL)
    key = names.Key("team", "web")
    assert made.pools.known(key, URL, "main", "", made.now) is not None
    for url, revision, secret in ((URL, "next", ""), (URL, "main", "login"), ("https://other.example/a", "main", "")):
        assert made.pools.known(key, url, revision, secret, made.now) is None
    made.pools.watch(interest(revision="next"), made.now)
    assert made.pools.known(key, URL, "next", "", made.now) is None


def test_pools_go_with_their_last_member():
    made = Clocked(interest("a"), interest("b"), interest("c", url="https://other.example/c"))
    made.pools.watch(interest("a", url="https://third.example/a"), NOW)
    made.pools.forget(names.Key("team", "b"))
    made.pools.forget(names.Key("team", "b"))
    made.pools.forget(names.Key("team", "never"))
    assert made.pools.get(URL) is None
    assert len(made.pools) == 2


def test_what_was_found_before_a_build_began_that_looked_itself_is_no_news_after_it():
    made = Clocked(interest(commit=OLD))
    key, pool = names.Key("team", "web"), made.pools.get(URL)
    assert pool is not None
    pool.hinted = True
    made.ask(URL)
    assert made.pools.known(key, URL, "main", "", NOW) == questions.Resolved(OLD, "refs/heads/main")
    made.pools.watch(interest(commit=NEW), NOW)  # somebody has asked for a build, which has found a newer one
    assert made.pools.known(key, URL, "main", "", NOW) is None
    for commit, woken in ((NEW, []), ("c" * 40, [key])):
        made.outcome, pool.hinted = resolved(commit), True
        assert made.ask(URL) == woken
        made.pools.watch(interest(commit=NEW), NOW)  # the same build goes on
        found = made.pools.known(key, URL, "main", "", NOW)
        assert isinstance(found, questions.Resolved)
        assert found.commit == commit


def test_a_look_that_began_before_a_build_tells_its_image_build_nothing():
    made = Clocked(interest("a", commit=OLD), interest("b", commit=OLD))
    pool = made.pools.get(URL)
    assert pool is not None
    pool.hinted = True
    begun = pool.begin(NOW)
    made.pools.watch(interest("a", commit=NEW), NOW)  # its build has found a newer commit while the look is under way
    made.pools.forget(names.Key("team", "b"))
    assert [pool.still(one) for one in begun] == [False, False]
    made.pools.watch(interest("b", commit=OLD), NOW)
    assert [pool.still(one) for one in begun] == [False, True]
