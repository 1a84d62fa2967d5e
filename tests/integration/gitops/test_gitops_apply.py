"""Applying what is applied changes nothing, whoever applies it; and nobody is told Ready too early."""

import contextlib
import functools
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from strata_operator import names
from support import e2e, gitops

CRDS = Path(__file__).parents[2] / "e2e/crds"
Body = dict[str, Any]
#: kubectl keeps a copy of the whole object in an annotation of at most 256 KiB.
TOO_LARGE_FOR_CLIENT_SIDE = {"inline-at-the-limit"}
#: `kubectl diff` names files after objects, and the engine the keys of its inventory.
TOO_LONG = {"longest-name"}
INVENTORY = {"annotations": {"config.k8s.io/owning-inventory": "shop-deploy"}}


def specs() -> dict[str, Body]:
    """Every field of both kinds, and the least that each can be, by the name of its file."""
    found = {}
    for number, path in enumerate(sorted(CRDS.glob("*/good/*.yaml"))):
        body = yaml.safe_load(path.read_text())
        if body["kind"] == "Registry":
            body["metadata"] = {"name": path.stem}
        managed = body["spec"].get("managed", {})
        if managed and managed.get("nodeAccess", {}).get("mode") != "None":
            managed["nodeAccess"] = managed.get("nodeAccess", {}) | {"port": 5100 + number}
        found[path.stem] = body
    return found


def by_client(world: gitops.World, home: e2e.Namespace, _: gitops.Source, bodies: list[Body]) -> None:
    home("apply", "-f", "-", body={"apiVersion": "v1", "kind": "List", "items": bodies})


def by_server(world: gitops.World, home: e2e.Namespace, _: gitops.Source, bodies: list[Body]) -> None:
    home("apply", "--server-side", "-f", "-", body={"apiVersion": "v1", "kind": "List", "items": bodies})


def by_engine(
    world: gitops.World, home: e2e.Namespace, source: gitops.Source, bodies: list[Body], *, server_side: bool = False
) -> None:
    source.commit({f"{number}": body for number, body in enumerate(bodies)})
    words = ["--wait=1ms", *(["--server-side"] if server_side else [])]
    done = gitops.applied(gitops.engine(world.plane.kubeconfig, source.url, home, *words))
    applied = {e["name"]: e["status"] for e in done.events if e["event"] == "apply"}
    assert applied == {body["metadata"]["name"]: "Successful" for body in bodies}, done.trouble


Apply = Callable[[gitops.World, e2e.Namespace, gitops.Source, list[Body]], None]
WAYS: dict[str, Apply] = {
    "client-side": by_client,
    "server-side": by_server,
    "kapply": by_engine,
    "kapply-server-side": functools.partial(by_engine, server_side=True),
}


def settled(home: e2e.Namespace) -> dict[tuple[str, str], Body]:
    """All objects of both kinds, once the operator has looked at each; without what it alone writes."""

    def looked_at() -> dict[tuple[str, str], Body]:
        kinds = ("imagebuilds", "registries.strata.build")
        found = {(kind, body["metadata"]["name"]): body for kind in kinds for body in home.all(kind)}
        seen = [b["status"].get("observedGeneration") == b["metadata"]["generation"] for b in found.values()]
        return found if all(seen) else {}

    found = home.until("a look of the operator at everything", looked_at, seconds=180)
    return {key: _of_people(body) for key, body in found.items()}


def _of_people(body: Body) -> Body:
    meta = {k: v for k, v in body["metadata"].items() if k != "resourceVersion"}
    meta["managedFields"] = [entry for entry in meta["managedFields"] if entry.get("subresource") != "status"]
    return {"metadata": meta, "spec": body["spec"]}


@pytest.mark.parametrize("way", WAYS)
def test_there_is_no_diff_and_nothing_changes_when_it_is_applied_again(world, source, way):
    home = world.namespace()
    without = TOO_LONG | (set() if "server" in way else TOO_LARGE_FOR_CLIENT_SIDE)
    bodies = [body for name, body in specs().items() if name not in without]
    WAYS[way](world, home, source, bodies)
    before = settled(home)
    shown = [{**b, "metadata": b["metadata"] | (INVENTORY if "kapply" in way else {})} for b in bodies]
    manager = "applier" if "kapply" in way else "kubectl"
    how = ["--server-side", f"--field-manager={manager}"] if "server" in way else []
    for _ in range(5):  # a status that is written between kubectl's two looks is a difference, too
        diff = home.ask("diff", *how, "-f", "-", body={"apiVersion": "v1", "kind": "List", "items": shown})
        if diff.code == 0:
            break
    assert (diff.code, diff.out) == (0, ""), diff.out[-3000:] + diff.err
    if gitops.LONG and way == "client-side":
        assert out_of_sync(home, bodies) == {}
    WAYS[way](world, home, source, bodies)
    assert settled(home) == before


def out_of_sync(home: e2e.Namespace, bodies: list[Body]) -> Body:
    """What Argo CD, by its own comparison, would show as different from git."""
    pairs = []
    for body in bodies:
        plural = "imagebuilds" if body["kind"] == "ImageBuild" else "registries.strata.build"
        git = {**body, "metadata": {**body["metadata"], "namespace": home.name}}
        live = {"apiVersion": body["apiVersion"], "kind": body["kind"], **home.get(plural, body["metadata"]["name"])}
        pairs.append({"git": git, "live": live})
    answers = gitops.asked("diff", pairs, program=gitops.argocd())
    return {
        pair["git"]["metadata"]["name"]: (answer["live"], answer["wanted"])
        for pair, answer in zip(pairs, answers, strict=True)
        if answer["modified"]
    }


def test_the_operator_owns_the_status_and_nothing_else(world):
    home = world.namespace()
    home.apply(e2e.image_build("web", "FROM scratch\nLABEL a=1\n"))
    home.wait("web")
    body = json.loads(home("get", "imagebuild", "web", "-o", "json", "--show-managed-fields"))
    registry = json.loads(home("get", "registry", "main", "-o", "json", "--show-managed-fields"))
    for entry in body["metadata"]["managedFields"] + registry["metadata"]["managedFields"]:
        ours = entry["manager"].startswith(names.OPERATOR)
        assert ours == (entry.get("subresource") == "status")
        assert not ours or entry["fieldsV1"].keys() == {"f:status"}


@pytest.fixture
def versions(world) -> Iterator[Callable[[e2e.Namespace, str], list[Body]]]:
    """Every version of an ImageBuild from here on."""
    with contextlib.ExitStack() as stack:

        def follow(home: e2e.Namespace, name: str) -> list[Body]:
            found: list[Body] = []
            command = home.k.command("-n", home.name, "get", "imagebuild", name, "--watch", "-o", "json")
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            thread = threading.Thread(target=_parse, args=(process.stdout, found))
            thread.start()
            stack.callback(thread.join)
            stack.callback(process.terminate)
            home.until("the first version", lambda: found)
            return found

        yield follow


def _parse(stream: Any, found: list[Body]) -> None:
    text = ""
    for line in stream:
        text += line
        if line == "}\n":
            found.append(json.loads(text))
            text = ""


def waits(home: e2e.Namespace, condition: str = "Ready", seconds: int = 2) -> bool:
    """Whether `kubectl wait` is content in that time."""
    return home.ask("wait", "imagebuild/web", f"--for=condition={condition}", f"--timeout={seconds}s").code == 0


def test_ready_is_said_when_the_image_is_pushed_and_never_of_an_older_spec(world, versions):
    home = world.namespace()
    world.node.holds.add("web")
    home.apply(e2e.image_build("web", "FROM scratch\nLABEL a=1\n"))
    seen = versions(home, "web")
    home.until("a running pod", lambda: home.conditions("web").get("Building"))
    assert gitops.kstatus(home.get("imagebuild", "web")) == ["InProgress"]
    assert not waits(home)
    world.node.holds.discard("web")
    assert waits(home, seconds=60)

    world.node.holds.add("web")
    world.operator.stop()  # so that it has not looked at the change yet
    try:
        home.apply(e2e.image_build("web", "FROM scratch\nLABEL a=2\n"))
        assert home.conditions("web")["Ready"]["status"] == "True"
        assert gitops.kstatus(home.get("imagebuild", "web")) == ["InProgress"]
        assert not waits(home)
    finally:
        world.operator.start()
    home.until("a running pod", lambda: home.conditions("web").get("Reconciling"))
    assert not waits(home)
    world.node.holds.discard("web")
    assert waits(home, seconds=60)

    world.node.fails.add("web")
    home.apply(e2e.image_build("web", "FROM scratch\nLABEL a=3\n"))
    assert waits(home, "Stalled", seconds=60)
    assert not waits(home)
    assert gitops.kstatus(home.get("imagebuild", "web")) == ["Failed"]
    said = list(zip(seen, gitops.kstatus(*seen), strict=True))
    assert {status for _, status in said} == {"InProgress", "Current", "Failed"}
    for body, status in said:
        built = body.get("status", {}).get("lastSuccess", {}).get("generation")
        assert status != "Current" or built == body["metadata"]["generation"], yaml.safe_dump(body)


def test_the_engine_waits_for_the_image_and_tells_a_failure(world, source):
    home = world.namespace()
    source.commit({"web": e2e.image_build("web", "FROM scratch\nLABEL a=1\n")})
    command = gitops.engine(world.plane.kubeconfig, source.url, home, "--wait=90s")
    good = gitops.applied(command)
    assert (good.trouble, good.of("apply", "web"), good.of("wait", "web")[-1]) == ("", ["Successful"], "Successful")
    for event in good.events:
        if event["event"] == "status" and event["status"] == "Current" and event["name"] == "web":
            assert event["observed"] == event["generation"]
    assert home.conditions("web")["Ready"]["status"] == "True"
    world.node.fails.add("web")
    source.commit({"web": e2e.image_build("web", "FROM scratch\nLABEL a=2\n")})
    bad = gitops.applied(command)
    assert bad.of("wait", "web")[-1] == "Failed"
    assert "Failed" in bad.trouble
    world.node.fails.discard("web")
    source.commit({"web": e2e.image_build("web", "FROM scratch\nLABEL a=1\n")})
    again = gitops.applied(command)
    assert (again.trouble, again.of("wait", "web")[-1]) == ("", "Successful")
    assert world.node.built[home.name, "web"] == 1, "the image of the first commit is there still"
