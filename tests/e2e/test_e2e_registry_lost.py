"""A registry that is away for half a minute, in three ways, while images are pushed and while caches are read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from support import e2e, faults, waiting

SECONDS = 30
COPIES = "FROM busybox:1.36\nCOPY one /\nCOPY two /\n"


def service(home: e2e.Namespace, name: str) -> str:
    found = home.get("service", f"strata-{name}")["spec"]
    return f"ip daddr {found['clusterIP']} tcp dport {found['ports'][0]['port']}"


def processes(home: e2e.Namespace, name: str) -> list[int]:
    pods = home.all("pods", f"strata.build/registry={name}")
    return [pid for pod in pods for pid in faults.processes(faults.container(pod))]


AWAY = {
    "refuses": lambda home, name: faults.cut(home.k.where, f"{service(home, name)} reject with tcp reset"),
    "drops": lambda home, name: faults.cut(home.k.where, f"{service(home, name)} drop"),
    "hangs": lambda home, name: faults.frozen(processes(home, name)),
}


def copies(way: str, version: int) -> e2e.Body:
    files = {"one": "1", "two": f"2 {version}"}
    return e2e.image_build(f"pull-{way}", COPIES, source={"inline": files}, output={"registry": {"name": way}})


@pytest.fixture(scope="module")
def home(namespaces) -> e2e.Namespace:
    made = namespaces("baseline", "away")
    made.apply(*(e2e.registry(0, way, managed=e2e.HIDDEN) for way in AWAY))
    for way in AWAY:
        made.wait(way, kind="registry")
    return made


@pytest.fixture(scope="module")
def ended(home, own_node, jobs) -> dict[str, e2e.Body]:
    """Builds of all registries with their outage in the midst: name -> status at the end."""
    pushed = [e2e.image_build(f"push-{way}", waiting.dockerfile(), output={"registry": {"name": way}}) for way in AWAY]
    home.apply(*pushed, *(copies(way, 1) for way in AWAY))
    waiting.until_running(home, *(f"push-{way}" for way in AWAY))
    for way in AWAY:
        home.wait(f"pull-{way}")
    with outage(home):
        home.apply(*(copies(way, 2) for way in AWAY))
        waiting.let_go(home, *(f"push-{way}" for way in AWAY))
        time.sleep(SECONDS)
    return {name: waiting.finish(home, name, seconds=240) for way in AWAY for name in (f"push-{way}", f"pull-{way}")}


@contextlib.contextmanager
def outage(home: e2e.Namespace) -> Iterator[None]:
    with contextlib.ExitStack() as away:
        for way, begin in AWAY.items():
            away.enter_context(begin(home, way))
        yield


def attempts(jobs, name: str) -> dict[tuple[int, int], int]:
    """(number, attempt) -> Jobs that were made for it."""
    return {key[1:]: len(made) for key, made in jobs.attempts(name).items()}


@pytest.mark.parametrize("way", AWAY)
def test_an_image_is_pushed_when_its_registry_is_back(ended, home, jobs, way):
    name, status = f"push-{way}", ended[f"push-{way}"]
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(1, "Succeeded")]
    assert attempts(jobs, name) == {(1, attempt): 1 for attempt in range(1, status["current"]["attempt"] + 1)}
    assert status["current"]["attempt"] <= 4
    assert home.tags(name, registry=way)[name]["latest"]["digest"] == status["digest"]


@pytest.mark.parametrize("way", AWAY)
def test_a_build_whose_cache_cannot_be_read_gives_its_image_all_the_same(ended, home, jobs, way):
    name, status = f"pull-{way}", ended[f"pull-{way}"]
    assert [(b["number"], b["result"]) for b in status["builds"]] == [(2, "Succeeded"), (1, "Succeeded")]
    made = attempts(jobs, name)
    assert made == {(1, 1): 1} | {(2, attempt): 1 for attempt in range(1, status["current"]["attempt"] + 1)}
    assert home.tags(name, registry=way)[name]["latest"]["digest"] == status["digest"]


@pytest.mark.parametrize("way", AWAY)
def test_the_registry_is_ready_again(ended, home, way):
    home.wait(way, kind="registry")
