"""The examples as they stand, each in its own namespaces."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from support import e2e, kubectl

EXAMPLES = kubectl.CHECKOUT / "examples"
MADE_BY = "strata.build/made-by"  # a label of what these tests made, which an earlier run may have left


@pytest.fixture
def example(strata):
    """Applies an example in its own namespaces, which nobody else may have made, and removes them."""
    made: list[str] = []

    def make(folder: str, *files: str, names: tuple[str, ...]) -> e2e.Namespace:
        for name in names:
            clear(strata, name)
        made.extend(names)
        here = e2e.Namespace(strata, names[0])
        here.apply(*(EXAMPLES / folder / f"{file}.yaml" for file in files))
        strata("label", "namespace", *names, f"{MADE_BY}=tests")
        return here

    yield make
    if made:
        strata.ask("delete", "namespace", "--wait=false", *made)


def clear(k: kubectl.Kubectl, name: str) -> None:
    """Removes what an earlier run left. On a cluster that is not the tests' own, a namespace of somebody else is kept."""
    found = k.get("namespace", name)
    if found is None:
        return
    ours = k.where.state is not None or found["metadata"].get("labels", {}).get(MADE_BY) == "tests"
    if not ours:
        pytest.fail(
            f"the namespace {name} is there, and not of these tests: remove it, or use another cluster", pytrace=False
        )
    k("delete", "namespace", name, "--wait=true")


def test_a_namespace_of_somebody_else_is_kept(strata, namespaces):
    theirs = namespaces("restricted", "theirs").name
    elsewhere = kubectl.Kubectl(dataclasses.replace(strata.where, state=None))
    with pytest.raises(pytest.fail.Exception, match=f"the namespace {theirs} is there, and not of these tests"):
        clear(elsewhere, theirs)
    assert strata.get("namespace", theirs)
    strata("label", "namespace", theirs, f"{MADE_BY}=tests")
    clear(elsewhere, theirs)
    assert strata.get("namespace", theirs) is None


def test_the_example_hello_answers_in_a_restricted_namespace(example, times):
    hello = example("hello", "namespace", "registry", "imagebuild", names=("hello",))
    times("examples/hello, cold", hello.wait("hello")["metrics"])
    hello.apply(EXAMPLES / "hello/pod.yaml")
    hello("wait", "pod", "hello", "--for=condition=Ready", "--timeout=60s")
    assert hello.answer("hello") == "Hello from an image that Kubernetes built.\n"
    times("examples/hello, warm", hello.rebuild("hello", "1")["metrics"])


def test_the_demo_tells_how_it_goes_and_ends_with_image_digest_metrics_and_answer(example):
    hello = example("hello", "namespace", names=("hello",))
    told = [demo(), demo()]
    status = hello.status("hello")
    assert [b["number"] for b in status["builds"]] == [1], "a second run builds nothing"
    for text in told:
        progress, _, end = text.partition("\nimage ")
        for about in ("Registry hello: Ready=True", "ImageBuild hello: Ready=True", "Pod hello: Ready"):
            assert about in progress
        assert [status["image"], "digest", status["digest"], "metrics"] == end.split()[:4]
        assert "durationSeconds" in end
        assert end.endswith("\nthe Pod answers:\nHello from an image that Kubernetes built.\n")


def demo() -> str:
    """What `make demo` prints once the release is there."""
    argv = (sys.executable, "-m", "hack.demo")
    done = subprocess.run(argv, cwd=kubectl.CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_example_c_app_compiles_in_both_isolations(example, times):
    app = example("c-app", "namespaces", "registry", "imagebuild", "imagebuild-userns", names=("c-app", "c-app-userns"))
    userns = e2e.Namespace(app.k, "c-app-userns")
    for where, isolation in ((app, "InPlace"), (userns, "UserNS")):
        status = where.wait("c-app", seconds=240)
        assert status["current"]["isolation"] == isolation
        times(f"examples/c-app {isolation}, cold", status["metrics"])
        assert where.run(status["image"]) == "Hello from a program that was compiled in a pod.\n"
    for where, isolation in ((app, "InPlace"), (userns, "UserNS")):
        warm = where.rebuild("c-app", "1")
        times(f"examples/c-app {isolation}, warm", warm["metrics"])
        assert all(step["cached"] for step in warm["steps"])
    app.apply(EXAMPLES / "c-app/pod.yaml")
    app("wait", "pod", "c-app", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
