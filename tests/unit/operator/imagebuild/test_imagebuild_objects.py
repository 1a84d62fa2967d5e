"""The builder pod: who mounts what, who may do what, and what the request says."""

import dataclasses
import json
from typing import Any

import pytest

from strata_builder import contract, termination
from strata_operator import names, settings
from strata_operator.imagebuild import case, objects, pod, questions, request, spec, target
from strata_operator.registry import view
from support import imagebuilds as ib

OPTIONS = settings.Settings(namespace="strata-system", builder_image="registry.example/builder@sha256:abc")
RICH: dict[str, Any] = {
    "source": {
        "git": {"url": "https://host.example/a.git", "revision": "main", "path": "sub", "secretRef": {"name": "git"}}
    },
    "dockerfile": {"inline": "FROM busybox\nRUN true\n"},
    "secrets": [{"id": "npmrc", "secretRef": {"name": "npm", "key": ".npmrc"}}],
    "pullSecrets": [{"name": "hub"}],
    "timeout": "10m",
    "pod": {
        "nodeSelector": {"disk": "ssd"},
        "labels": {"team": "web", "app.kubernetes.io/managed-by": "me"},
        "annotations": {"a": "b", "strata.build/inputs": "forged"},
        "resources": {"limits": {"memory": "4Gi"}},
        "serviceAccountName": "builder",
    },
}


def made(
    rung: str,
    *,
    registry: Any = None,
    ca: str = "",
    name: str = "web",
    attempt: int = 1,
    options: Any = OPTIONS,
    copied: bool = False,
    meta: Any = None,
    **fields: Any,
) -> objects.Made:
    body = ib.build(name=name, **(RICH | fields))
    body["metadata"] |= meta or {}
    seen = case.Observed(body, registry or ib.registry(), ib.namespace())
    planned = questions.Job(
        "sib-web-1", 1, attempt, 1, "sha256:i", rung, "team/web", commit=ib.COMMIT, args=(("A", "1"),), copied=copied
    )
    to = target.Target(view.view(seen.registry or {}), "team/web")
    return objects.make(seen, to, planned, options, resolv_conf="nameserver 10.96.0.10\n", ca_bundle=ca)


def pod_of(found: objects.Made) -> Any:
    return found.job["spec"]["template"]["spec"]


def containers(found: objects.Made) -> Any:
    return {c["name"]: c for c in pod_of(found)["containers"]}


def mounts(container: Any) -> Any:
    return {m["mountPath"]: m for m in container["volumeMounts"]}


def secrets_of(found: objects.Made, container: Any) -> Any:
    """Names of the Secrets that a container can read."""
    volumes = {v["name"]: v for v in pod_of(found)["volumes"]}
    reached = [volumes[m["name"]] for m in container["volumeMounts"]]
    plain = {v["secret"]["secretName"] for v in reached if "secret" in v}
    sources = [s for v in reached for s in v.get("projected", {}).get("sources", ())]
    return plain | {s["secret"]["name"] for s in sources}


@pytest.mark.parametrize("rung", contract.ISOLATIONS)
def test_no_pod_has_a_token_a_privilege_or_a_path_of_the_host(rung):
    found = pod_of(made(rung))
    assert found["automountServiceAccountToken"] is False
    assert found["enableServiceLinks"] is False
    text = json.dumps(found)
    assert "hostPath" not in text
    assert '"privileged"' not in text
    assert "hostNetwork" not in text
    assert found["activeDeadlineSeconds"] == 660
    assert found["restartPolicy"] == "Never"


@pytest.mark.parametrize("rung", ["InPlace", "UserNS"])
def test_each_secret_reaches_only_the_container_that_needs_it(rung):
    found = made(rung)
    parts = containers(found)
    assert list(parts) == ["fetch", "build", "push"]
    assert secrets_of(found, parts["fetch"]) == {"git", "hub", "strata-pull", "npm"}
    assert secrets_of(found, parts["build"]) == set()
    assert secrets_of(found, parts["push"]) == {"strata-push"}


def test_the_one_container_of_layers_is_named_push_and_misses_a_secret_of_steps_as_other_rungs_do():
    found = made("Layers")
    parts = containers(found)
    assert list(parts) == [contract.ALL_IN_ONE]
    assert parts["push"]["command"] == ["/.strata/bin/strata-pod", "all"]
    assert secrets_of(found, parts["push"]) == {"git", "hub", "npm", "strata-pull", "strata-push"}


@pytest.mark.parametrize("rung", contract.ISOLATIONS)
@pytest.mark.parametrize("named", [(), ("hub",), ("hub", "strata-pull")])
def test_the_registrys_own_login_can_be_told_from_those_of_the_spec(rung, named):
    found = pod_of(made(rung, pullSecrets=[{"name": name} for name in named]))
    (volume,) = [v for v in found["volumes"] if v["name"] == "pull-credentials"]
    places = {s["secret"]["name"]: s["secret"]["items"][0]["path"] for s in volume["projected"]["sources"]}
    assert len(places) == len(volume["projected"]["sources"])
    assert places.pop("strata-pull") == f"{contract.OWN_LOGIN}/.dockerconfigjson"
    assert places == {name: f"{name}/.dockerconfigjson" for name in named if name == "hub"}


def test_a_login_that_the_spec_names_must_be_there():
    bare = {"status": {}}
    for named, optional in (((), True), (("strata-pull",), None)):
        registry = {**ib.registry(), **bare}
        found = pod_of(made("UserNS", registry=registry, pullSecrets=[{"name": name} for name in named]))
        (volume,) = [v for v in found["volumes"] if v["name"] == "pull-credentials"]
        (own,) = [s["secret"] for s in volume["projected"]["sources"] if s["secret"]["name"] == "strata-pull"]
        assert own.get("optional") is optional


@pytest.mark.parametrize("rung", ["InPlace", "UserNS"])
def test_who_writes_what(rung):
    parts = containers(made(rung))
    writable = {name: {p for p, m in mounts(c).items() if not m.get("readOnly")} for name, c in parts.items()}
    assert writable["fetch"] == {contract.SCRATCH, contract.INPUTS, contract.SECRETS, f"{contract.ALIVE}/fetch"}
    assert writable["build"] == {contract.SCRATCH, contract.OUTPUTS, f"{contract.ALIVE}/build"}
    assert writable["push"] == {contract.SCRATCH, contract.WANTED, f"{contract.ALIVE}/push"}
    assert contract.SECRETS not in mounts(parts["push"])
    assert {m["name"] for c in parts.values() for p, m in mounts(c).items() if p == contract.SCRATCH} == {
        "scratch-fetch",
        "scratch-build",
        "scratch-push",
    }


def test_fetch_and_push_are_restricted_on_every_rung():
    for rung in contract.ISOLATIONS:
        for name, container in containers(made(rung)).items():
            if name == "build":
                continue
            security = container["securityContext"]
            assert security["runAsUser"] == 65532
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_in_place_protects_the_builder_and_the_names_of_hosts_from_steps():
    build = containers(made("InPlace"))["build"]
    by_path = mounts(build)
    assert by_path["/.strata"] == {"name": "builder", "mountPath": "/.strata", "readOnly": True, "subPath": ".strata"}
    assert by_path["/etc/hosts"]["readOnly"] is True
    assert by_path["/etc/resolv.conf"]["readOnly"] is True
    assert "SYS_ADMIN" not in build["securityContext"]["capabilities"]["add"]
    assert build["securityContext"]["readOnlyRootFilesystem"] is False
    volumes = {v["name"]: v for v in pod_of(made("InPlace"))["volumes"]}
    assert volumes["builder"]["image"]["reference"] == OPTIONS.builder_image


def test_where_images_cannot_be_mounted_a_copy_is_made_before_and_is_as_safe_from_steps():
    found = made("InPlace", copied=True)
    (install,) = pod_of(found)["initContainers"]
    assert install["command"] == ["/.strata/bin/strata-pod", "install"]
    assert install["image"] == OPTIONS.builder_image
    assert install["securityContext"] == containers(found)["push"]["securityContext"]
    assert secrets_of(found, install) == set()
    volumes = {v["name"]: v for v in pod_of(found)["volumes"]}
    assert not [v for v in volumes.values() if "image" in v]
    assert volumes["builder"] == {"name": "builder", "emptyDir": {"sizeLimit": "1Gi"}}
    assert mounts(install)["/installed"] == {"name": "builder", "mountPath": "/installed"}
    assert mounts(containers(found)["build"])["/.strata"] == {
        "name": "builder",
        "mountPath": "/.strata",
        "readOnly": True,
    }
    for name in ("fetch", "push"):
        assert "builder" not in {m["name"] for m in containers(found)[name]["volumeMounts"]}
    assert "initContainers" not in pod_of(made("UserNS", copied=True))


def test_what_a_container_says_fits_into_its_share_also_in_a_service_mesh():
    """The kubelet keeps 12 KiB of what all containers of a pod say, in equal shares; of half an answer nothing can be read."""
    found = pod_of(made("InPlace", copied=True))
    injected = 2  # istio-init and istio-proxy
    containers_ = len(found["containers"]) + len(found["initContainers"]) + injected
    assert (12 << 10) // containers_ >= termination.LIMIT


def test_only_user_ns_has_sys_admin_and_only_in_a_user_namespace():
    for rung in contract.ISOLATIONS:
        found = made(rung)
        admins = [n for n, c in containers(found).items() if "SYS_ADMIN" in json.dumps(c["securityContext"])]
        assert admins == (["build"] if rung == "UserNS" else [])
        assert ("SYS_ADMIN" in json.dumps(pod_of(found))) == (pod_of(found).get("hostUsers") is False)


def test_what_the_spec_adds_never_replaces_what_strata_needs():
    metadata = made("Layers").job["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "web"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "strata-operator"
    assert metadata["annotations"]["strata.build/inputs"] == "sha256:i"
    assert metadata["annotations"]["a"] == "b"


def test_the_pods_settings_come_from_the_spec():
    found = made("InPlace")
    assert pod_of(found)["nodeSelector"] == {"disk": "ssd"}
    assert pod_of(found)["serviceAccountName"] == "builder"
    parts = containers(found)
    assert parts["build"]["resources"]["limits"]["memory"] == "4Gi"
    assert parts["push"]["resources"]["limits"] == dict(OPTIONS.helper_limits)


DEFAULTS = {
    "imagePullSecrets": [{"name": "mirror"}],
    "priorityClassName": "builds",
    "nodeSelector": {"pool": "builds"},
    "tolerations": [{"key": "builds", "operator": "Exists"}],
    "labels": {"team": "all", "cost": "builds", "app.kubernetes.io/managed-by": "me"},
    "annotations": {"a": "chart", "c": "d"},
}


@pytest.mark.parametrize("rung", contract.ISOLATIONS)
def test_what_the_spec_leaves_open_is_as_the_chart_has_it(rung):
    options = dataclasses.replace(OPTIONS, build_pod=DEFAULTS)
    plain = made(rung, options=options, pod={})
    for field in ("imagePullSecrets", "priorityClassName", "nodeSelector", "tolerations"):
        assert pod_of(plain)[field] == DEFAULTS[field]
    own = {"imagePullSecrets": [{"name": "own"}], "priorityClassName": "urgent", "nodeSelector": {}, "tolerations": []}
    asked = pod_of(made(rung, options=options, pod=own))
    assert (asked["imagePullSecrets"], asked["priorityClassName"]) == ([{"name": "own"}], "urgent")
    assert not {"nodeSelector", "tolerations"} & asked.keys(), "an empty field is no wish for the default"
    meta = made(rung, options=options).job["spec"]["template"]["metadata"]
    assert (meta["labels"]["team"], meta["labels"]["cost"]) == ("web", "builds")
    assert meta["labels"]["app.kubernetes.io/managed-by"] == names.OPERATOR
    assert (meta["annotations"]["a"], meta["annotations"]["c"]) == ("b", "d")


def test_the_job_fails_once_ignores_disruptions_and_throws_no_result_away():
    job = made("Layers").job
    assert job["spec"]["backoffLimit"] == 0
    assert "activeDeadlineSeconds" not in job["spec"]
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert job["spec"]["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"]) == (ib.UID, True)


def test_the_pod_of_a_dry_run_is_a_jobs_as_that_of_the_job_controller_is():
    """Clusters that want no bare pods refuse one without a controller."""
    job = made("Layers").job
    (owner,) = objects.pod_for_admission(job)["metadata"]["ownerReferences"]
    assert (owner["apiVersion"], owner["kind"], owner["name"]) == ("batch/v1", "Job", job["metadata"]["name"])
    assert owner["controller"]
    assert owner["uid"]
    assert "blockOwnerDeletion" not in owner  # for which we would need a right upon Jobs that we need for nothing else


TRACKING = {
    "labels": {
        "app.kubernetes.io/instance": "shop",
        "argocd.argoproj.io/instance": "shop",
        "kustomize.toolkit.fluxcd.io/name": "shop",
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        "helm.toolkit.fluxcd.io/name": "shop",
        "applyset.kubernetes.io/part-of": "applyset-1",
        "app.kubernetes.io/managed-by": "Helm",
    },
    "annotations": {
        "argocd.argoproj.io/tracking-id": "shop:strata.build/ImageBuild:team/web",
        "config.k8s.io/owning-inventory": "shop",
        "configmanagement.gke.io/managed": "enabled",
        "configsync.gke.io/resource-id": "strata.build_imagebuild_team_web",
        "kustomize.toolkit.fluxcd.io/prune": "enabled",
        "meta.helm.sh/release-name": "shop",
        names.ANNOTATION_LAST_APPLIED: "{}",
    },
}


def test_no_child_takes_over_what_tells_an_apply_engine_that_an_object_is_its_own():
    found = made("Layers", meta=TRACKING)
    template = found.job["spec"]["template"]
    for child in (found.job, template, *found.config_maps):
        meta = child["metadata"]
        assert not meta["labels"].keys() & TRACKING["labels"].keys() - {names.LABEL_MANAGED_BY}
        assert meta["labels"][names.LABEL_MANAGED_BY] == names.OPERATOR
        assert not (meta.get("annotations") or {}).keys() & TRACKING["annotations"].keys()
        assert child is template or meta["ownerReferences"][0]["uid"] == ib.UID


def test_config_maps_are_immutable_named_by_content_and_shared_by_attempts():
    large = {"inline": {"a": "x" * 70_000}}
    one, two = (made("Layers", ca="PEM\n", attempt=attempt, source=large) for attempt in (1, 2))
    assert all(body["immutable"] for body in one.config_maps)
    assert one.config_maps[0]["metadata"]["name"] != two.config_maps[0]["metadata"]["name"]  # it holds the attempt
    assert one.config_maps[1]["metadata"]["name"] == two.config_maps[1]["metadata"]["name"]
    assert one.config_maps[0]["data"]["ca.crt"] == "PEM\n"
    listed = one.job["metadata"]["annotations"][names.ANNOTATION_CONFIG_MAPS].split(",")
    assert listed == [body["metadata"]["name"] for body in one.config_maps]


def test_small_contents_go_with_the_request():
    found = made("Layers", source={"inline": {"a": "1"}})
    (only,) = found.config_maps
    assert {"request.json", "f0", "Dockerfile"} <= only["data"].keys()
    named = {v["name"]: v["configMap"]["name"] for v in pod_of(found)["volumes"] if "configMap" in v}
    assert named.keys() >= {"request", "files", "dockerfile"}
    assert set(named.values()) == {only["metadata"]["name"]}


def test_names_of_253_characters_make_valid_names_and_labels():
    found = made("Layers", name="a" * 253)
    for body in (*found.config_maps, found.job):
        assert len(body["metadata"]["name"]) <= 63
        assert all(len(v) <= 63 for v in body["metadata"]["labels"].values())
    assert found.job["metadata"]["annotations"][names.ANNOTATION_IMAGEBUILD] == "a" * 253


def test_the_request_is_whole_and_holds_no_secret():
    found = made("UserNS")
    decoded = contract.decode_request(found.config_maps[0]["data"]["request.json"])
    assert decoded.build.uid == ib.UID
    assert decoded.source.git == contract.GitSource("https://host.example/a.git", "main", ib.COMMIT, "sub")
    assert decoded.dockerfile_inline
    assert decoded.secrets == ("npmrc",)
    assert decoded.args == (("A", "1"),)
    assert decoded.output == contract.Output("registry.example:5000", "team/web")
    assert decoded.timeout_seconds == 600


@pytest.mark.parametrize(
    ("given", "expected"), [({}, True), ({"submodules": True}, True), ({"submodules": False}, False)]
)
def test_submodules_are_fetched_unless_the_spec_says_otherwise(given, expected):
    found = made("Layers", source={"git": {"url": "https://host.example/a.git", **given}})
    git = contract.decode_request(found.config_maps[0]["data"]["request.json"]).source.git
    assert git is not None
    assert git.submodules is expected


def test_inline_files_reach_the_pod_under_keys_that_config_maps_allow():
    files = {"index.html": "Hello", "conf/app ü.ini": "x=1"}
    found = made("Layers", source={"inline": files}, dockerfile={"path": "conf/D"})
    decoded = contract.decode_request(found.config_maps[0]["data"]["request.json"])
    data = found.config_maps[-1]["data"]
    assert {path: data[key] for path, key in decoded.source.files} == files
    assert all(key.isalnum() for _, key in decoded.source.files)
    assert contract.CONTEXT_FILES in mounts(containers(found)["push"])


def test_a_config_map_of_the_user_is_mounted_as_it_is():
    found = made("Layers", source={"configMap": {"name": "site"}})
    volumes = {v["name"]: v for v in pod_of(found)["volumes"]}
    assert volumes["files"]["configMap"]["name"] == "site"
    assert contract.decode_request(found.config_maps[0]["data"]["request.json"]).source.files_folder


def test_mirrors_of_the_registry_come_before_those_of_the_chart():
    options = settings.Settings(namespace="s", mirrors={"docker.io": "http://chart:5000"})
    registry = ib.registry(mirrors=[{"upstream": "docker.io", "endpoint": "https://own"}])
    found = made("Layers", registry=registry, options=options)
    decoded = contract.decode_request(found.config_maps[0]["data"]["request.json"])
    assert [m.endpoint for m in decoded.mirrors] == ["https://own", "http://chart:5000"]


def test_logins_are_required_only_where_the_registry_has_any():
    anonymous = ib.registry()
    del anonymous["status"]["credentials"]
    for registry, optional in ((ib.registry(), None), (anonymous, True)):
        found = made("InPlace", registry=registry)
        volumes = {v["name"]: v for v in pod_of(found)["volumes"]}
        assert volumes["push-credentials"]["secret"].get("optional") is optional


def test_every_mount_has_its_volume_and_every_volume_its_mount():
    for rung in contract.ISOLATIONS:
        found = made(rung, ca="PEM")
        mounted = {m["name"] for c in pod_of(found)["containers"] for m in c["volumeMounts"]}
        assert mounted == {v["name"] for v in pod_of(found)["volumes"]}
        for container in pod_of(found)["containers"]:
            paths = [m["mountPath"] for m in container["volumeMounts"]]
            assert len(paths) == len(set(paths))


def test_the_search_domains_are_those_of_the_builds_namespace():
    own = (
        "search strata-system.svc.cluster.local svc.cluster.local example.org\nnameserver 10.96.0.10\noptions ndots:5\n"
    )
    found = pod.resolv_conf(own, "strata-system", "team")
    assert found.splitlines()[0] == "search team.svc.cluster.local svc.cluster.local example.org"
    assert found.splitlines()[1:] == ["nameserver 10.96.0.10", "options ndots:5"]


def test_keys_of_inline_files_depend_on_their_order_alone():
    wanted = spec.parse(ib.build(source={"inline": {"b": "2", "a": "1"}}))
    assert request.file_keys(wanted) == (("a", "f0"), ("b", "f1"))
