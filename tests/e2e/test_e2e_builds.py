"""Builds on the cluster, from `kubectl apply` to Pods that run what was built."""

from __future__ import annotations

import json
import re

import pytest

from support import e2e, kubectl

EXAMPLES = kubectl.CHECKOUT / "examples"
WEB = """\
FROM busybox:1.36
COPY index.html /www/
USER 65532
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""
STEPS = "FROM busybox:1.36\nRUN echo made > /made\nCOPY a /a\n"


@pytest.fixture(scope="module")
def home(namespaces, ports) -> e2e.Namespace:
    """A restricted namespace with a Registry `main` that is Ready."""
    made = namespaces("restricted", "builds")
    made.apply(e2e.registry(next(ports)))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


@pytest.fixture(scope="module")
def baseline(namespaces, ports) -> e2e.Namespace:
    """One where steps may run, with a Registry `main` that is Ready."""
    made = namespaces("baseline", "steps")
    made.apply(e2e.registry(next(ports)))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


def web(name: str = "web", text: str = "hello\n", **spec) -> e2e.Body:
    return e2e.image_build(name, WEB, **{"source": {"inline": {"index.html": text}}, **spec})


# -- from apply to a Pod that answers --


def test_an_image_is_built_tagged_and_runs(home, times):
    status = home.build(web())
    times("web, cold", status["metrics"])
    assert re.fullmatch(r"localhost:\d+/.*/web@sha256:[0-9a-f]{64}", status["image"])
    assert status["image"].endswith(status["digest"])
    assert home.manifest_digest("web") == status["digest"]
    assert status["current"]["isolation"] == "Layers"
    assert home.serve(status["image"]) == "hello\n"


def test_a_second_build_is_all_from_the_cache_and_gives_the_same_digest(home, times):
    first = home.build(web("again"))
    second = home.rebuild("again", "1")
    times("web, warm", second["metrics"])
    assert second["digest"] == first["digest"]
    assert (second["metrics"]["cacheHits"], second["metrics"]["cacheMisses"]) == (1, 0), second["steps"]
    assert all(step["cached"] for step in second["steps"])
    assert second["lastHandledRebuild"] == "1"


def test_kubectl_get_shows_what_people_want_to_know(home):
    status = home.build(web("shown"))
    head, line = home("get", "imagebuilds", "shown").splitlines()
    assert head.split() == ["NAME", "READY", "REASON", "IMAGE", "AGE"]
    assert line.split()[:4] == ["shown", "True", "Succeeded", status["image"]]


def test_applying_the_same_again_starts_nothing(home):
    home.build(web("same"))
    jobs = home.jobs("same")
    home.apply(web("same"))
    home("label", "imagebuild", "same", "team=a")
    home.wait("same")
    assert home.jobs("same") == jobs
    assert home.status("same")["current"]["number"] == 1
