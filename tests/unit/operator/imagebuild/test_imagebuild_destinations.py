"""Who writes to a repository, and of whom nothing is to be expected: without a look at every ImageBuild."""

from typing import Any

import pytest

from strata_operator import cache, names
from strata_operator.imagebuild import destinations, observe, trimming
from strata_operator.registry import spec as registry_spec
from support import imagebuilds as ib

REGISTRY = names.Key("team", "main")


def store() -> cache.Store:
    return cache.Store(names.IMAGEBUILDS, trim=trimming.trim, packed=True, indexes=observe.indexes())


def build(name: str, version: int, *, namespace: str = "team", repository: str = "", registry: str = "main") -> Any:
    output = {"registry": {"name": registry, "namespace": "team"}} | ({"repository": repository} if repository else {})
    body = ib.build(name, namespace, uid=f"{namespace}-{name}", output=output)
    body["metadata"]["resourceVersion"] = str(version)
    return body


def writers(of: cache.Store, repository: str, template: str = "{namespace}/{name}") -> list[str]:
    found = of.index(observe.DESTINATION)
    assert isinstance(found, destinations.Destinations)

    def resolve(namespace: str, name: str, wanted: str) -> str:
        return wanted or registry_spec.repository(template, namespace, name)

    return [str(key) for key in found.writers(REGISTRY, repository, template, resolve)]


def test_writers_are_known_by_template_and_by_name_as_objects_come_change_and_go():
    known = store()
    known.put(build("web", 1))
    known.put(build("other", 2, repository="team/web"))
    assert writers(known, "team/web") == ["team/other", "team/web"]
    known.put(build("other", 3, repository="team/other"))
    known.put(build("late", 4, repository="team/web"))
    assert writers(known, "team/web") == ["team/late", "team/web"]
    known.remove(build("web", 5))
    assert writers(known, "team/web") == ["team/late"]
    assert writers(known, "") == []


def test_another_template_is_another_repository():
    known = store()
    known.put(build("web", 1))
    known.put(build("web", 2, namespace="other"))
    assert writers(known, "team/web") == ["team/web"]
    assert writers(known, "web", "{name}") == ["other/web", "team/web"]
    assert writers(known, "team/web", "{name}") == []
    assert writers(known, "team/web") == ["team/web"]


def test_builds_of_a_registry_are_those_that_name_it():
    known = store()
    known.put(build("web", 1))
    known.put(build("elsewhere", 2, registry="other"))
    index = known.index(observe.DESTINATION)
    assert isinstance(index, destinations.Destinations)
    assert index.of_registry(REGISTRY) == [names.Key("team", "web")]
    known.remove(build("web", 3))
    assert index.of_registry(REGISTRY) == []


def settled(body: Any) -> bool:
    known = store()
    known.put(body | {"metadata": body["metadata"] | {"resourceVersion": "1"}})
    return known.has(observe.SETTLED, True, names.Key("team", "web"))


def finished() -> ib.World:
    world = ib.World()
    world.succeed()
    return world


def test_what_was_built_is_settled_until_somebody_touches_it():
    world = finished()
    assert settled(world.body)
    world.edit(target="other")
    assert not settled(world.body)
    world.settle()
    assert not settled(world.body)  # it runs
    assert not settled(ib.build())


@pytest.mark.parametrize("name", [names.ANNOTATION_REBUILD, names.ANNOTATION_NO_CACHE])
def test_what_is_to_be_built_again_is_not_settled(name):
    world = finished()
    world.annotate(name, "1")
    assert not settled(world.body)
    world.succeed()
    assert settled(world.body)


def test_what_is_being_deleted_is_not_settled():
    body = finished().body
    assert not settled(body | {"metadata": body["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}})


def test_what_runs_is_found_among_all():
    world = ib.World()
    world.settle()
    known = store()
    known.put(world.body | {"metadata": world.body["metadata"] | {"resourceVersion": "1"}})
    assert known.keys(observe.ACTIVE, True) == [names.Key("team", "web")]
