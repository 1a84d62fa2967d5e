"""What happens to ImageBuilds under GitOps beside being applied: suspended, pruned, renamed, lost and restored."""

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from strata_operator import names
from support import e2e, gitops

Body = dict[str, Any]
DOCKERFILE = "FROM scratch\nLABEL a=1\n"


def in_place(name: str, dockerfile: str = DOCKERFILE, **output: Any) -> Body:
    """An ImageBuild; `output` goes into spec.output."""
    return e2e.image_build(name, dockerfile, output={"registry": {"name": "main"}} | output)


def engine(world: gitops.World, source: gitops.Source, home: e2e.Namespace) -> gitops.Applied:
    return gitops.applied(gitops.engine(world.plane.kubeconfig, source.url, home, "--wait=60s"))


def stays(home: e2e.Namespace, world: gitops.World, name: str, count: int) -> None:
    """So many images were made; another ImageBuild goes all the way meanwhile, and this one is looked at anew."""
    home.build(e2e.image_build("meanwhile", DOCKERFILE))
    home("delete", "imagebuild", "meanwhile")
    assert world.node.built[home.name, name] == count


def test_suspended_in_git_and_resumed(world, source):
    home = world.namespace()
    source.commit({"web": in_place("web")})
    assert engine(world, source, home).trouble == ""
    source.commit({"web": e2e.image_build("web", DOCKERFILE, suspend=True)})
    held = engine(world, source, home)
    assert (held.trouble, home.conditions("web")["Suspended"]["status"]) == ("", "True")
    source.commit({"web": e2e.image_build("web", "FROM scratch\nLABEL a=2\n", suspend=True)})
    home("apply", "-f", "-", body=e2e.image_build("web", "FROM scratch\nLABEL a=2\n", suspend=True))
    home.wait("web", "Suspended")
    stays(home, world, "web", 1)
    source.commit({"web": e2e.image_build("web", "FROM scratch\nLABEL a=2\n")})
    assert engine(world, source, home).trouble == ""
    assert world.node.built[home.name, "web"] == 2
    assert home.status("web")["current"]["reason"] == "SpecChanged"


def test_pruned_while_it_builds_and_nothing_is_left(world, source):
    home = world.namespace()
    world.node.holds.add("gone")
    source.commit({"gone": in_place("gone"), "stays": in_place("stays")})
    command = gitops.engine(world.plane.kubeconfig, source.url, home, "--wait=1s")
    gitops.applied(command)
    home.until("a running pod", lambda: home.pods("gone"))
    source.commit({"gone": None})
    pruned = engine(world, source, home)
    assert (pruned.trouble, pruned.of("prune", "gone")) == ("", ["Successful"])
    mine = f"{names.LABEL_IMAGEBUILD}=gone"
    for kind in ("jobs", "pods", "configmaps"):
        home.until(f"no {kind}", lambda kind=kind: not home.all(kind, mine))
    assert home.conditions("stays")["Ready"]["status"] == "True"


def test_renamed_with_the_same_repository_and_tag(world, source):
    """The new one is there before the old one is pruned: it waits for the tag, and then finds the image."""
    home = world.namespace()
    place = {"repository": f"{home.name}/shop"}
    source.commit({"old": in_place("old", **place)})
    assert engine(world, source, home).trouble == ""
    digest = home.status("old")["digest"]
    source.commit({"old": None, "new": in_place("new", **place)})
    renamed = engine(world, source, home)
    assert renamed.of("prune", "old") == ["Successful"]
    assert renamed.of("wait", "new")[-1] in ("Failed", "Successful")  # in conflict until the old one has gone
    status = home.until("that the new one is Ready", lambda: _ready(home, "new"), seconds=60, name="new")
    assert status["digest"] == digest
    assert engine(world, source, home).trouble == ""


def test_both_at_once_are_a_conflict_of_the_younger_one(world):
    home = world.namespace()
    place = {"repository": f"{home.name}/shop"}
    home.apply(in_place("old", **place))
    home.wait("old")
    home.until("another second", lambda: _older(home, "old"), seconds=10)
    home.apply(in_place("new", **place))
    home.wait("new", "Stalled", reason="DestinationConflict")
    assert gitops.kstatus(home.get("imagebuild", "new")) == ["Failed"]
    assert f"{home.name}/old" in home.conditions("new")["Ready"]["message"]
    home.apply(in_place("old", tags=["v1"], **place))
    home.until("that the new one is Ready", lambda: _ready(home, "new"), name="new")


def test_renamed_without_a_repository_of_its_own(world, source):
    """Its repository has its name: the image is made anew, and the old one stays where it is."""
    home = world.namespace()
    source.commit({"old": in_place("old")})
    assert engine(world, source, home).trouble == ""
    source.commit({"old": None, "new": in_place("new")})
    assert engine(world, source, home).trouble == ""
    assert home.status("new")["repository"] == f"{home.name}/new"
    assert world.node.built[home.name, "new"] == 1


def test_a_namespace_that_is_deleted_takes_all_along_and_can_come_back(world):
    home = world.namespace("comes-back")
    world.node.holds.add("held")
    home.apply(in_place("web"), in_place("held"))
    home.wait("web")
    home.until("a running pod", lambda: home.pods("held"))
    home.k("delete", "namespace", home.name, "--timeout=110s")
    assert world.k.get("namespace", home.name) is None
    world.node.holds.discard("held")
    back = world.namespace(home.name)
    back.build(in_place("held"))
    assert back.status("held")["current"]["number"] == 1


def _backup(home: e2e.Namespace, name: str) -> Body:
    body: Body = copy.deepcopy(home.get("imagebuild", name))
    return body


def _restored(body: Body) -> Body:
    """As a tool for backups creates it: without what the API server gives."""
    kept = ("name", "namespace", "labels", "annotations")
    meta = {key: value for key, value in body["metadata"].items() if key in kept}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": meta, "spec": body["spec"]}


def _restore_status(world: gitops.World, home: e2e.Namespace, body: Body) -> None:
    """The second step of such a tool, where it is told to restore the status: it replaces what is there."""
    name = body["metadata"]["name"]
    path = f"{names.IMAGEBUILDS.path(home.name, name)}/status"

    def put() -> bool:
        now = world.plane.ask("GET", path)
        try:
            world.plane.ask("PUT", path, now | {"status": body["status"]})
        except RuntimeError as e:
            if " 409 " not in str(e):  # the operator has written meanwhile
                raise
            return False
        return True

    home.until("that the status is restored", put)


@contextlib.contextmanager
def _away(world: gitops.World) -> Iterator[None]:
    """The operator does not run meanwhile."""
    world.operator.stop()
    try:
        yield
    finally:
        world.operator.start()


def _deleted(home: e2e.Namespace, name: str) -> None:
    home("delete", "imagebuild", name)
    home.until("no jobs", lambda: not home.all("jobs", f"{names.LABEL_IMAGEBUILD}={name}"))


@pytest.mark.parametrize("operator", ["runs", "is restored later"])
def test_restored_with_its_status_nothing_is_built(world, operator):
    """Whether the operator sees the object before or after its status: the image is the one that is there."""
    home = world.namespace()
    home.build(in_place("web", "FROM scratch\nLABEL a=0\n"))
    home.build(in_place("web"))  # so that its generation is not that of a new object
    backup = _backup(home, "web")
    _deleted(home, "web")
    built = world.node.built[home.name, "web"]
    if operator == "runs":
        world.node.holds.add("web")
        home.apply(_restored(backup))
        home.until("that it begins to build", lambda: home.status("web").get("current"))
        _restore_status(world, home, backup)
    else:
        with _away(world):
            home.apply(_restored(backup))
            _restore_status(world, home, backup)
    status = home.until("that it is Ready", lambda: _ready(home, "web"), name="web")
    world.node.holds.discard("web")
    assert status["digest"] == backup["status"]["digest"]
    home.until("that no pod is left", lambda: not home.all("pods", f"{names.LABEL_IMAGEBUILD}=web"))
    stays(home, world, "web", built)
    assert home.status("web")["lastSuccess"]["generation"] == home.get("imagebuild", "web")["metadata"]["generation"]


def test_restored_without_its_status_it_is_built_once_to_the_same_digest(world):
    home = world.namespace()
    digest = home.build(in_place("web"))["digest"]
    backup = _backup(home, "web")
    _deleted(home, "web")
    home.apply(_restored(backup))
    status = home.wait("web")
    assert status["digest"] == digest
    stays(home, world, "web", 2)


def test_restored_from_the_middle_of_a_build_it_is_built_once(world):
    """The status names a Job of the old object, and the Job itself may be restored as well."""
    home = world.namespace()
    world.node.holds.add("web")
    home.apply(in_place("web"))
    home.until("a running pod", lambda: _phase(home) == "Running")
    backup = _backup(home, "web")
    (job,) = home.jobs("web")
    old_job = home.get("job", job)
    _deleted(home, "web")
    with _away(world):
        home.apply(_restored(backup))
        _restore_status(world, home, backup)
        _restore_job(home, old_job)
        world.node.holds.discard("web")
    status = home.until("that it is Ready", lambda: _ready(home, "web"), seconds=120, name="web")
    assert status["lastSuccess"]["number"] == status["current"]["number"]
    home.until("that the old Job is gone", lambda: world.k.get("job", job, namespace=home.name) is None)
    built = world.node.built[home.name, "web"]
    stays(home, world, "web", built)
    assert len(home.all("jobs", f"{names.LABEL_IMAGEBUILD}=web")) == 1


CHILDREN = ("configmaps", "services", "networkpolicies", "deployments")


def test_a_managed_registry_restored_with_its_children_takes_them_up_or_makes_them_anew(world):
    """They name the old object as their owner, so the garbage collector is after them."""
    home = world.namespace()
    body = {
        "apiVersion": e2e.API_VERSION,
        "kind": "Registry",
        "metadata": {"name": "own"},
        "spec": {"managed": e2e.HIDDEN},
    }
    home.apply(body)
    home.until("its children", lambda: all(_of_registry(home, kind) for kind in CHILDREN))
    claim = home.get("persistentvolumeclaim", "strata-own")["metadata"]["uid"]
    backup = {kind: _of_registry(home, kind) for kind in CHILDREN}
    home("delete", "registry", "own")
    home.until("that they are gone", lambda: not any(_of_registry(home, kind) for kind in CHILDREN))
    for kind, (child,) in backup.items():
        kept = {key: child["metadata"][key] for key in ("name", "labels", "ownerReferences")}
        rest = {key: child[key] for key in ("spec", "data") if key in child}
        for given in ("clusterIP", "clusterIPs"):
            rest.get("spec", {}).pop(given, None)
        home("create", "-f", "-", body={**_KINDS[kind], "metadata": kept, **rest})
    home.apply(body)
    uid = home.get("registry", "own")["metadata"]["uid"]

    def owned() -> bool:
        children = [child for kind in CHILDREN for child in _of_registry(home, kind)]
        owners = [[o["uid"] for o in child["metadata"].get("ownerReferences", ())] for child in children]
        return len(children) == len(CHILDREN) and all(found == [uid] for found in owners)

    home.until("that all are the new one's", owned, seconds=90)
    home.until("that it goes on", lambda: home.conditions("own", "registry").get("Reconciling"), seconds=60)
    assert home.get("persistentvolumeclaim", "strata-own")["metadata"]["uid"] == claim


_KINDS = {
    "configmaps": {"apiVersion": "v1", "kind": "ConfigMap"},
    "services": {"apiVersion": "v1", "kind": "Service"},
    "networkpolicies": {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"},
    "deployments": {"apiVersion": "apps/v1", "kind": "Deployment"},
}


def _of_registry(home: e2e.Namespace, kind: str) -> list[Body]:
    return home.all(kind, f"{names.LABEL_REGISTRY}=own")


def _restore_job(home: e2e.Namespace, job: Body) -> None:
    meta = job["metadata"]
    spec = copy.deepcopy(job["spec"])
    spec.pop("selector", None)
    template = spec["template"]["metadata"]["labels"]
    for label in [key for key in template if "controller-uid" in key or "job-name" in key]:
        del template[label]
    kept = {key: meta[key] for key in ("name", "labels", "annotations", "ownerReferences")}
    kept["labels"] = {k: v for k, v in kept["labels"].items() if "controller-uid" not in k and "job-name" not in k}
    home("create", "-f", "-", body={"apiVersion": "batch/v1", "kind": "Job", "metadata": kept, "spec": spec})


def _ready(home: e2e.Namespace, name: str) -> Body | None:
    body = home.get("imagebuild", name)
    said = [c["status"] for c in body["status"].get("conditions", ()) if c["type"] == "Ready"]
    return body["status"] if said == ["True"] and gitops.kstatus(body) == ["Current"] else None


def _phase(home: e2e.Namespace) -> str:
    return str(home.status("web").get("current", {}).get("phase", ""))


def _older(home: e2e.Namespace, name: str) -> bool:
    """Whether the API server's clock, which counts whole seconds, has moved on since it was made."""
    probe = json.loads(home("create", "configmap", "probe", "--dry-run=server", "-o", "json"))
    made = home.get("imagebuild", name)["metadata"]["creationTimestamp"]
    return bool(probe["metadata"]["creationTimestamp"] > made)


TRACKING = {
    "labels": {
        "app.kubernetes.io/instance": "shop",
        "argocd.argoproj.io/instance": "shop",
        "kustomize.toolkit.fluxcd.io/name": "shop",
        "applyset.kubernetes.io/part-of": "applyset-1",
    },
    "annotations": {
        "argocd.argoproj.io/tracking-id": "shop:strata.build/ImageBuild:x/web",
        "config.k8s.io/owning-inventory": "shop",
    },
}


def test_children_are_found_by_their_owner_and_by_nothing_else(world):
    home = world.namespace()
    world.node.holds.add("web")
    body = in_place("web")
    body["metadata"] |= TRACKING
    managed = {"apiVersion": e2e.API_VERSION, "kind": "Registry", "metadata": {"name": "own"} | TRACKING}
    home.apply(body, managed | {"spec": {"managed": e2e.HIDDEN}})
    home.until("a pod", lambda: home.pods("web"))
    home.until("a Deployment", lambda: home.all("deployments"))
    made = [
        child
        for kind in (
            "jobs",
            "configmaps",
            "deployments",
            "services",
            "persistentvolumeclaims",
            "networkpolicies",
            "secrets",
        )
        for child in home.all(kind)
        if child["metadata"].get("labels", {}).get(names.LABEL_MANAGED_BY) == names.OPERATOR
    ]
    assert {"job", "deployment"} <= {child.get("kind", "").lower() or _kind(child) for child in made}
    for child in made:
        meta = child["metadata"]
        assert not meta["labels"].keys() & TRACKING["labels"].keys(), meta
        assert not meta.get("annotations", {}).keys() & TRACKING["annotations"].keys(), meta
    jobs = [child for child in made if names.LABEL_BUILD_NUMBER in child["metadata"]["labels"]]
    (owner,) = jobs[0]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ImageBuild", "web", True)
    world.node.holds.discard("web")


def _kind(child: Body) -> str:
    """Items of a list carry no kind."""
    spec = child.get("spec", {})
    return "job" if "backoffLimit" in spec else "deployment" if "strategy" in spec else ""
