"""Two ImageBuilds and one tag: who waits is woken when the other one lets it go, and goes on by itself."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from strata_operator import cache, controller, names
from strata_operator.imagebuild import conflicts, observe, questions, tags, trimming
from strata_operator.imagebuild.case import Observed
from support import imagebuilds as ib
from support.imagebuilds import World


class Woken:
    """A cache of ImageBuilds, and whom its news wake."""

    def __init__(self) -> None:
        self.keys: list[names.Key] = []
        self.cache = cache.Cache(self._notice)
        self.cache.add(cache.Store(names.IMAGEBUILDS, trim=trimming.trim, indexes=observe.indexes()))
        self.cache.add(cache.Store(names.REGISTRIES))
        self.frame: Any = SimpleNamespace(cache=self.cache)
        self._wakes: controller.Wakes = conflicts.wakes(self.frame)
        self._version = 1

    def _notice(self, _resource: names.Resource, body: Any) -> None:
        self.keys += [key for _, key in self._wakes(body)]

    def put(
        self, name: str, *, result: str = "", generation: int = 1, tags: tuple[str, ...] = (), **meta: Any
    ) -> list[names.Key]:
        """News of an ImageBuild; gives whom they wake."""
        body = ib.build(name, uid=f"uid-{name}", generation=generation)
        body["status"] = {"current": {"number": 1, "result": result}, "tags": list(tags)}
        return self._say("MODIFIED", body, meta)

    def remove(self, name: str) -> list[names.Key]:
        return self._say("DELETED", ib.build(name, uid=f"uid-{name}"), {})

    def _say(self, kind: str, body: Any, meta: dict[str, Any]) -> list[names.Key]:
        self._version += 1
        body["metadata"] |= {"resourceVersion": str(self._version)} | meta
        before = len(self.keys)
        self.cache.seen(names.IMAGEBUILDS, kind, body)
        return self.keys[before:]


LOSER = names.Key("team", "new")


@pytest.fixture
def woken() -> Woken:
    made = Woken()
    made.put("old", result="Succeeded")
    made.put("new", result=conflicts.REASON)
    return made


def test_who_lost_a_tag_is_woken_when_the_other_one_goes(woken):
    assert woken.remove("old") == [LOSER]


def test_and_when_it_is_told_to_go_or_gets_another_spec(woken):
    assert woken.put("old", generation=2, deletionTimestamp="2027-01-15T08:00:00Z") == [LOSER]
    assert woken.put("old", generation=3) == [LOSER]


def test_and_when_the_tag_that_it_had_written_is_another(woken):
    woken.put("old", tags=("latest",))
    assert woken.put("old", tags=("v1",)) == [LOSER]


def test_other_news_of_a_status_wake_nobody(woken):
    assert woken.put("old", result="Failed") == []


def test_who_has_found_a_place_is_woken_no_more(woken):
    woken.put("new", result="Succeeded")
    assert woken.remove("old") == []


def test_who_has_gone_is_woken_no_more(woken):
    woken.remove("new")
    assert woken.remove("old") == []


def test_one_that_is_being_deleted_is_no_rival(woken):
    woken.cache.seen(names.REGISTRIES, "ADDED", ib.registry())
    output = {"output": {"registry": {"name": "main"}, "repository": "team/web"}}
    for name, meta in (("stays", {}), ("goes", {"deletionTimestamp": "2027-01-15T08:00:00Z"})):
        body = ib.build(name, uid=f"uid-{name}", **output)
        body["metadata"] |= meta
        woken.cache.seen(names.IMAGEBUILDS, "ADDED", body)
    seen = Observed(ib.build("web", **output), registry=ib.registry())
    assert [rival.name for rival in observe.rivals(woken.frame, seen, "team/web")] == ["team/stays"]


def test_a_tag_that_was_lost_during_the_build_is_written_when_it_becomes_free():
    world = World()
    world.settle()
    world.pod(ib.ended(message=ib.result()))
    world.finish()
    world.answers[questions.Rivals] = (tags.Rival("team/old", True, ("latest",)),)
    world.settle()
    assert world.condition("Stalled") == ("True", conflicts.REASON)
    first = copy.copy(world.started)
    world.settle()
    assert world.started == first, "it is not built again while the tag is another's"
    world.answers[questions.Rivals] = ()
    world.succeed()
    assert world.condition("Ready") == ("True", "Succeeded")
    assert world.tagged[-1].tags == ("latest",)
