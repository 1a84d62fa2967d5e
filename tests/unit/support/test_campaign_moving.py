"""What follows branches and bases in a campaign: who moves them, and the verdict on who followed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support import git_server
from support.campaign import api, asking, auditing, bases, following, moving, undisturbed, watching, wishes

GIT = "git://none"


class World:
    """An API server, a repository and an operator that has followed at once, save for what is in `never`."""

    def __init__(self, never: frozenset[str] = frozenset()) -> None:
        self.bodies: dict[str, api.Body] = {}
        self.applied: list[str] = []
        self.heads: dict[str, str] = {}
        self.stands: dict[str, str] = {}  # what the names of base images stand for
        self.failed: BaseException | None = None
        self.looked = 0.0
        self._never = never

    def apply(self, _plural: str, body: api.Body) -> None:
        name = body["metadata"]["name"]
        self.applied.append(name)
        self.bodies[name] = {**body, "metadata": {**body["metadata"], "uid": name, "generation": 1}, "status": {}}
        self.follow()

    def commit(self, _files: Mapping[str, str], branch: str) -> str:
        self.heads[branch] = f"{branch}-{random.random()}"
        self.follow()
        return self.heads[branch]

    def put(self, version: int) -> None:
        self.stands["there/moved:latest"] = f"moved-{version}"
        self.follow()

    def follow(self) -> None:
        for name, body in self.bodies.items():
            if name not in self._never:
                self._build(name, body)

    def _build(self, name: str, body: api.Body) -> None:
        before, spec = body["status"], body["spec"]
        base = spec.get("dockerfile", {}).get("inline", "").partition("\n")[0].removeprefix("FROM ")
        made = {
            "commit": self.heads.get(spec.get("source", {}).get("git", {}).get("revision", "")),
            "base": self.stands.get(base),
            "spec": spec,
        }
        if before.get("made") == made:
            return
        number = before.get("current", {}).get("number", 0) + 1
        digest = f"of {made}"
        body["status"] = {
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}],
            "current": {"number": number, "phase": "Succeeded"},
            "lastSuccess": {"number": number},
            "made": made,
            "source": {"commit": made["commit"]},
            "baseImages": [{"name": base, "digest": made["base"]}],
            "digest": digest,
        }
        self.stands[f"there/{name}:latest"] = digest


def commits(world: Any) -> moving.Commits:
    return moving.Commits(7, world, world, GIT, world)


def chain(world: Any) -> bases.Chain:
    return bases.Chain(7, world, world, lambda name: f"there/{name}:latest")


def tag(world: Any) -> bases.Tag:
    digests = {bases.tagged(version): f"moved-{version}" for version in range(bases.VERSIONS)}
    return bases.Tag(7, world, world, "there/moved:latest", world.put, digests)


def moved(mover: moving.Mover, monkeypatch: pytest.MonkeyPatch, most: int = 20) -> None:
    monkeypatch.setattr(moving, "MOST", most)
    monkeypatch.setattr(mover, "_pause", lambda: 0.0)
    mover.work()


@pytest.mark.parametrize("make", [commits, chain, tag])
def test_all_that_follows_is_asked_for_once_and_had_after_the_last_move(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    mover = make(world)
    moved(mover, monkeypatch)
    followers = [wish.name for wish in mover.final.values() if wish.follows]
    assert mover.moves == 20
    assert not mover.lost
    assert [name for name in world.applied if name in followers] == followers
    assert {one.wish for one in mover.had[-len(mover.final) :]} == {*mover.final.values()}


def test_bases_move_to_another_version_each_time_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    mover = tag(World())
    moved(mover, monkeypatch)
    asked = [count for (name, _), count in mover.asks.items() if name == "tag-user"]
    assert sum(asked) == 21
    assert len(asked) == bases.VERSIONS


def test_a_base_comes_back_to_a_version_only_when_all_had_followed_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(never=frozenset({"tag-user"}))
    mover, put = tag(world), list[int]()
    monkeypatch.setattr(mover, "_copy", put.append)
    monkeypatch.setattr(asking, "PATIENCE", 0.01)
    for _ in range(bases.VERSIONS - 1):
        mover._move()
    assert sorted(put) == [1, 2, 3]
    assert not mover.lost
    mover._move()
    assert len(mover.lost) == 1  # it had to wait, and in vain


def test_a_mover_ends_when_it_is_over_and_what_does_not_follow_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = commits(World())
    ended.over.set()
    ended.work()
    assert (ended.moves, len(ended.had)) == (0, 3)
    monkeypatch.setattr(asking, "PATIENCE", 0.01)
    lost = chain(World(never=frozenset({"chain-top"})))
    moved(lost, monkeypatch)
    assert [name for name, _ in lost.lost] == ["chain-top"]
    assert lost.moves == 0


def test_a_tag_is_written_as_often_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    world, refused = World(), [1, 1]
    monkeypatch.setattr(bases.time, "sleep", lambda _seconds: None)  # type: ignore[attr-defined]

    def put(version: int) -> None:
        assert not (refused and refused.pop())
        world.put(version)

    mover = tag(world)
    monkeypatch.setattr(mover, "_copy", put)
    moved(mover, monkeypatch, most=1)
    assert not mover.lost
    assert not refused


def test_what_follows_says_so_in_its_spec_and_no_move_changes_it() -> None:
    made = [wishes.Contents(wishes.BASED, 0, 0, wishes.Base("there/a:latest", bases.tagged(n))) for n in (1, 2)]
    one, other = (wishes.Wish("user", each).body(GIT) for each in made)
    assert one == other
    assert one["spec"]["triggers"] == {"baseImages": {"pollInterval": "1m"}}
    assert one["spec"]["dockerfile"]["inline"].startswith("FROM there/a:latest\n")
    assert made[0].key != made[1].key
    one, other = (wishes.Wish("user", wishes.Contents(wishes.COMMIT, 1, n)).body(GIT) for n in (1, 2))
    assert one == other
    assert one["spec"]["source"] == {"git": {"url": GIT, "revision": "moving-1"}}


MADE = wishes.Contents(wishes.COMMIT, 0, 3)
BASE = wishes.Base("there/moved:latest", bases.tagged(1))
ON_BASE = wishes.Contents(wishes.BASED, 0, 0, BASE)


def references() -> undisturbed.References:
    found = undisturbed.References(Path("/nowhere"), "")
    found.known |= {MADE: "made", ON_BASE: "on base", BASE.contents: "base"}
    return found


@pytest.mark.parametrize(
    ("wish", "status", "kinds"),
    [
        (wishes.Wish("a", MADE, commit="c3"), {"digest": "made", "source": {"commit": "c3"}}, []),
        (wishes.Wish("a", MADE, commit="c3"), {"digest": "made", "source": {"commit": "c2"}}, ["lost"]),
        (wishes.Wish("a", MADE, commit="c3"), {"digest": "old", "source": {"commit": "c3"}}, ["wrong digest"]),
        (wishes.Wish("a", MADE, commit="c3"), {}, ["wrong digest", "lost"]),
        (wishes.Wish("b", ON_BASE), {"digest": "on base", "baseImages": [{"digest": "base"}]}, []),
        (wishes.Wish("b", ON_BASE), {"digest": "on base", "baseImages": [{"digest": "other"}]}, ["lost"]),
    ],
)
def test_what_has_not_followed_to_the_last_is_found(wish: wishes.Wish, status: Any, kinds: list[str]) -> None:
    verdict = auditing.Verdict()
    following.arrived(verdict, wish, status, references())
    assert [one.kind for one in verdict.problems] == kinds


def entry(number: int, commit: str, result: str = "Succeeded") -> dict[str, Any]:
    return {"number": number, "result": result, "commit": commit, "digest": commit}


@pytest.mark.parametrize(
    ("history", "order", "problems"),
    [
        ([entry(1, "a"), entry(2, "b"), entry(3, "a")], "aba", 0),
        ([entry(1, "a"), entry(2, "c")], "abbc", 0),  # moves that nobody saw
        ([entry(1, "a"), entry(2, "a")], "aba", 1),  # for nothing
        ([entry(1, "a"), entry(2, "b"), entry(3, "a")], "abc", 1),  # back to what was before
        ([entry(1, "a"), entry(3, "b")], "ab", 1),
        ([entry(1, "a"), entry(2, "b", "Failed")], "ab", 1),
    ],
)
@pytest.mark.parametrize("made", [MADE, ON_BASE])
def test_what_was_built_for_nothing_or_not_at_all_is_found(
    made: wishes.Contents, history: list[dict[str, Any]], order: str, problems: int
) -> None:
    verdict = auditing.Verdict()
    following.only_for_moves(verdict, wishes.Wish("a", made), history, order)
    assert len(verdict.problems) == problems


def test_the_verdict_on_all_movers_takes_their_last_moves_and_what_was_seen() -> None:
    world: Any = World()
    mover = commits(world)
    mover.over.set()
    mover.work()
    found = watching.Recorder(world)
    known = references()
    for wish in mover.final.values():
        body = world.bodies[wish.name]
        body["status"]["builds"] = [entry(1, wish.commit)]
        found._take(body)
        known.known[wish.contents] = body["status"]["digest"]
    found.bodies = world.bodies
    del found.bodies["commit-c"]
    verdict = auditing.Verdict()
    following.followed(verdict, found, [mover], known)
    assert {one.name for one in verdict.problems} == {"commit-c"}
    assert verdict.facts == {"builds by triggers alone": 3}


def test_a_real_repository_has_the_commits_that_are_asked_for(tmp_path: Path) -> None:
    world: Any = World()
    repository = git_server.Repository.make(tmp_path)
    mover = moving.Commits(7, world, world, GIT, repository)
    mover._commit(1)
    mover._commit(1)
    wish = mover.final["commit-c"]
    assert git_server.git("rev-parse", "moving-1", cwd=repository.bare) == wish.commit
    assert git_server.git("show", "moving-1:file", cwd=repository.bare) == "commit-1-2"
