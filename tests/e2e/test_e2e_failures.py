"""What users meet when something is wrong: each failure has its reason, says what and where, and pushes nothing."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import pytest

from support import e2e, file_server, git_server

DOCKERFILE = "FROM busybox:1.36\nCOPY f /f\n"
CONTEXT = {"inline": {"f": "content"}}
RUNS = "FROM busybox:1.36\nRUN true\n"


@pytest.fixture(scope="module")
def home(namespaces) -> e2e.Namespace:
    return with_registry(namespaces("restricted", "failures"))


@pytest.fixture(scope="module")
def steps(namespaces) -> e2e.Namespace:
    """As `home`, where steps of a Dockerfile may run."""
    return with_registry(namespaces("baseline", "failures"))


def with_registry(made: e2e.Namespace) -> e2e.Namespace:
    made.apply(e2e.registry(0, managed=e2e.HIDDEN))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


def refused(home: e2e.Namespace, name: str, reason: str, *said: str, seconds: float = 60) -> None:
    """The ImageBuild comes to Ready=False with `reason`, all of `said` is in its message, and there is no image: neither
    in its status nor, tagged or not, in the registry."""
    status = home.wait(name, "Ready", "False", reason=reason, seconds=seconds)
    message = home.conditions(name)["Ready"]["message"]
    assert [word for word in said if word not in message] == [], message
    assert "digest" not in status
    assert "image" not in status
    assert home.conditions(name)["Stalled"]["status"] == "True"
    assert not [place for place in home.manifests() if place.startswith(f"{home.name}/{name}@")]
    assert home.conditions(name).get("LastBuildSucceeded", {}).get("status") != "True"


DOCKERFILES = [
    ("caret", "FROM busybox:1.36\nCOPY f\n", "DockerfileInvalid", ["Dockerfile:2", "2 | COPY f", "^"]),
    (
        "typo",
        "FROM busybox:1.36\nCOPPY f /f\n",
        "DockerfileInvalid",
        ["Dockerfile:2", "COPPY", "did you mean COPY?", "^"],
    ),
    ("no-equals", "FROM busybox:1.36\nENV A=1 B\n", "DockerfileInvalid", ["Dockerfile:2", "ENV A=1 B", "^"]),
    ("no-file", "FROM busybox:1.36\nCOPY nothing /f\n", "SourceNotFound", ["Dockerfile:2", "COPY nothing /f", "^"]),
    ("no-stage", "FROM busybox:1.36\nCOPY --from=9 /f /f\n", "DockerfileInvalid", ["Dockerfile:2", "no stage 9", "^"]),
    ("no-rung", RUNS, "PodRejected", ["RUN", f"{e2e.POD_SECURITY}", "restricted", "baseline"]),
]


@pytest.mark.parametrize(("name", "text", "reason", "said"), DOCKERFILES, ids=[row[0] for row in DOCKERFILES])
def test_a_dockerfile_that_cannot_be_built(home, name, text, reason, said):
    home.apply(e2e.image_build(name, text, source=CONTEXT))
    refused(home, name, reason, *said)


def test_a_step_that_fails_tells_its_last_words(steps):
    steps.apply(e2e.image_build("step", "FROM busybox:1.36\nRUN echo last words; exit 7\n"))
    refused(steps, "step", "RunFailed", "exit code 7", "last words", "Dockerfile:2", seconds=90)


SECRETS = {"secrets": [{"id": "t", "secretRef": {"name": "absent", "key": "k"}}]}
ABSENT = [
    ("base", "FROM busybox:no-such-tag\n", {}, "busybox:no-such-tag"),
    ("secret", "FROM busybox:1.36\nRUN --mount=type=secret,id=t true\n", SECRETS, "absent"),
    ("map", DOCKERFILE, {"source": {"configMap": {"name": "absent-map"}}}, "absent-map"),
]


@pytest.mark.parametrize(("name", "text", "spec", "said"), ABSENT, ids=[row[0] for row in ABSENT])
def test_an_object_that_is_missing_is_named(steps, name, text, spec, said):
    steps.apply(e2e.image_build(name, text, **{"source": CONTEXT, **spec}))
    told = lambda: steps.conditions(name).get("Ready", {}).get("message", "")  # noqa: E731
    steps.until(f"{name} names {said}", lambda: said in told(), seconds=150, name=name)
    assert steps.conditions(name)["Ready"]["status"] != "True"
    assert not [place for place in steps.manifests() if place.startswith(f"{steps.name}/{name}@")]


REFUSED = [
    ({"source": {"inline": {"f": "x"}, "configMap": {"name": "c"}}}, "spec.source"),
    ({"source": {"inline": {"f": "x" * 2**20}}}, "spec.source.inline"),
    ({"output": {"registry": {"name": "main"}, "tags": ["cache-linux-amd64"]}}, "spec.output.tags"),
    ({"output": {"registry": {"name": "main"}, "tags": ["Not a tag"]}}, "spec.output.tags"),
]


@pytest.mark.parametrize(("spec", "field"), REFUSED, ids=["two sources", "large", "tag of a cache", "no tag"])
def test_the_api_server_refuses_it_and_names_the_field(home, spec, field):
    answer = home.ask("create", "-f", "-", body=e2e.image_build("refused", DOCKERFILE, **{"source": CONTEXT, **spec}))
    assert answer.code != 0
    assert field in answer.err


def test_a_registry_that_comes_later_is_waited_for(home):
    home.apply(e2e.image_build("patient", DOCKERFILE, source=CONTEXT, output={"registry": {"name": "later"}}))
    home.wait("patient", "Ready", "Unknown", reason="RegistryNotFound", seconds=30)
    home.apply(e2e.registry(0, "later", managed=e2e.HIDDEN))
    home.wait("patient", seconds=120)


def test_a_base_image_that_its_registry_does_not_have(home):
    base = f"{home.status(e2e.REGISTRY, 'registry')['endpoints']['push']}/{home.name}/nothing:1"
    home.apply(e2e.image_build("no-base", f"FROM {base}\nCOPY f /f\n", source=CONTEXT))
    refused(home, "no-base", "BaseImageNotFound", "Dockerfile:1", f"1 | FROM {base}", "^")


@pytest.mark.parametrize("revision", ["no-such-branch", "v9"])
def test_a_git_revision_that_is_not_there(home, here, revision):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        git_server.Repository.make(Path(folder)).commit({"Dockerfile": DOCKERFILE, "f": "x"})
        with git_server.HttpServer(Path(folder), host=here) as server:
            name = "revision-" + revision.rpartition("/")[2]
            git = {"url": f"{server.url}/app.git", "revision": revision}
            home.apply(e2e.image_build(name, source={"git": git}))
            refused(home, name, "ReferenceNotFound", revision, server.url)


def test_a_context_that_is_larger_than_the_limit_is_not_written(home, here):
    head = tarfile.TarInfo("huge")
    head.size = 2**40
    answer = file_server.Answer(head.tobuf() + bytes(4096))
    with file_server.FileServer({"/huge.tar": answer}, host=here) as server:
        home.apply(e2e.image_build("huge", DOCKERFILE, source={"archive": {"url": f"{server.url}/huge.tar"}}))
        refused(home, "huge", "InvalidSpec", "larger than", "builds.contextLimit")


def test_a_registry_that_refuses_the_password(home):
    """The managed Registry of the namespace, named a second time as somebody else's with a wrong password."""
    endpoint = home.status(e2e.REGISTRY, "registry")
    home.apply(e2e.config_map("authority", {"ca.crt": endpoint["caBundle"]}))
    wrong = e2e.secret("wrong", username="ada", password="not-this-one")
    home.apply(wrong | {"type": "kubernetes.io/basic-auth"})
    home("create", "rolebinding", "strata-secret-reader", "--clusterrole=strata-secret-reader",
         "--serviceaccount=strata-system:strata-operator")  # fmt: skip
    external = {
        "host": endpoint["endpoints"]["push"],
        "caBundle": {"configMapRef": {"name": "authority"}},
        "credentials": {"secretRef": {"name": "wrong"}},
    }
    body = e2e.registry(0, "theirs")
    body["spec"] = {"external": external}
    home.apply(body)
    home.wait("theirs", "Ready", "False", kind="registry", seconds=30)
    said = home.conditions("theirs", "registry")["Ready"]["message"]
    assert "refuses user ada" in said
    output = {"registry": {"name": "theirs"}}
    home.apply(e2e.image_build("password", DOCKERFILE, source=CONTEXT, output=output))
    home.wait("password", "Ready", "Unknown", reason="RegistryNotReady", seconds=30)
    assert "refuses user ada" in home.conditions("password")["Ready"]["message"]
    assert home.jobs("password") == []
    assert "not-this-one" not in str(home.status("password")) + said


def test_a_quota_that_leaves_no_room(namespaces):
    there = with_registry(namespaces("restricted", "quota"))
    for name, hard in {"pods": "pods=1", "jobs": "count/jobs.batch=0", "config-maps": "count/configmaps=1"}.items():
        there("create", "quota", name, f"--hard={hard}")
        there.until("the quota counts", lambda name=name: there.get("quota", name).get("status", {}).get("used"))
        there.apply(e2e.image_build(name, DOCKERFILE, source=CONTEXT))
        refused(there, name, "QuotaExceeded", "quota", hard)
        there("delete", "quota", name)


def test_a_repository_that_is_longer_than_registries_take(home):
    name = ".".join(["n" * 60, "a" * 60, "m" * 60, "e" * 60, "s" * 9])
    home.apply(e2e.image_build(name, DOCKERFILE, source=CONTEXT))
    refused(home, name, "InvalidSpec", "repositoryTemplate", "255", "spec.output.repository")


def test_a_tag_that_becomes_none_when_it_is_filled_in(home):
    output = {"registry": {"name": "main"}, "tags": ["x" * 125 + "{build}{build}{build}{build}"]}
    answer = home.ask("create", "-f", "-", body=e2e.image_build("tag", DOCKERFILE, source=CONTEXT, output=output))
    if answer.code:
        assert "spec.output.tags" in answer.err
    else:
        refused(home, "tag", "InvalidSpec", "tag")
