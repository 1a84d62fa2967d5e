"""What users meet when something is wrong: each failure has its reason, says where, and pushes nothing."""

from __future__ import annotations

import hashlib

import pytest

from support import e2e

OK = "FROM busybox:1.36\nCOPY f /f\n"
STEP = "FROM busybox:1.36\nRUN --mount=type=secret,id=t true\n"


@pytest.fixture(scope="module")
def home(namespaces, ports) -> e2e.Namespace:
    """A namespace where steps may run, with a Registry `main` that is Ready."""
    made = namespaces("baseline", "outcomes")
    made.apply(e2e.registry(next(ports)))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


def built(name: str, dockerfile: str = OK, **spec) -> e2e.Body:
    return e2e.image_build(name, dockerfile, **{"source": {"inline": {"f": "content"}}, **spec})


FINAL = [
    ("unknown-instruction", "FROM busybox:1.36\nCOPPY f /f\n", "DockerfileInvalid", ["Dockerfile:2", "COPPY", "COPY"]),
    ("no-equals", "FROM busybox:1.36\nENV A=1 B\n", "DockerfileInvalid", ["Dockerfile:2", "ENV A=1 B", "^"]),
    ("file-missing", "FROM busybox:1.36\nCOPY nothing /f\n", "SourceNotFound", ["nothing", "Dockerfile:2"]),
    ("run-fails", "FROM busybox:1.36\nRUN echo last words; exit 7\n", "RunFailed", ["exit code 7", "last words", ":2"]),
]


@pytest.mark.parametrize(("name", "dockerfile", "reason", "said"), FINAL, ids=[row[0] for row in FINAL])
def test_a_failure_says_what_and_where(home, name, dockerfile, reason, said):
    home.apply(built(name, dockerfile))
    status = home.wait(name, "Ready", "False", reason=reason, seconds=90)
    message = home.conditions(name)["Ready"]["message"]
    assert [word for word in said if word not in message] == [], message
    assert home.conditions(name)["Stalled"]["status"] == "True"
    assert "digest" not in status


@pytest.mark.parametrize(
    ("name", "dockerfile", "spec", "said"),
    [
        ("base-missing", "FROM busybox:no-such-tag\n", {}, "busybox:no-such-tag"),
        ("secret-missing", STEP, {"secrets": [{"id": "t", "secretRef": {"name": "absent", "key": "k"}}]}, "absent"),
        ("map-missing", OK, {"source": {"configMap": {"name": "absent-map"}}}, "absent-map"),
    ],
)
def test_what_is_missing_is_named(home, name, dockerfile, spec, said):
    home.apply(built(name, dockerfile, **spec))
    home.until(
        f"{name} names {said}",
        lambda: said in home.conditions(name).get("Ready", {}).get("message", ""),
        seconds=150,
        name=name,
    )
    assert home.conditions(name)["Ready"]["status"] != "True"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"source": {"inline": {"f": "x"}, "configMap": {"name": "c"}}}, "spec.source"),
        ({"source": {"inline": {"f": "x" * 2**20}}}, "spec.source.inline"),
        ({"output": {"registry": {"name": "main"}, "tags": ["cache-linux-amd64"]}}, "spec.output.tags"),
        ({"output": {"registry": {"name": "main"}, "tags": ["Not a tag"]}}, "spec.output.tags"),
    ],
)
def test_the_api_server_refuses_it_and_names_the_field(home, spec, field):
    answer = home.ask("create", "-f", "-", body=built("refused", **spec))
    assert answer.code != 0
    assert field in answer.err


def test_a_registry_that_comes_later_is_waited_for(home, ports):
    home.apply(built("patient", output={"registry": {"name": "later"}}))
    home.wait("patient", "Ready", "Unknown", reason="RegistryNotFound", seconds=30)
    home.apply(e2e.registry(next(ports), "later"))
    home.wait("patient", seconds=120)


def test_a_secret_reaches_its_step_and_no_log_status_or_image(home):
    value = "correct-horse-battery"
    home.apply(e2e.secret("token", k=value))
    dockerfile = (
        "FROM busybox:1.36\n"
        "RUN --mount=type=secret,id=t cat /run/secrets/t && sha256sum < /run/secrets/t > /sum\n"
        'CMD ["cat", "/sum"]\n'
    )
    status = home.build(built("secret", dockerfile, secrets=[{"id": "t", "secretRef": {"name": "token", "key": "k"}}]))
    logs = home("logs", f"job/{home.jobs('secret')[0]}", "--all-containers")
    assert value not in logs
    assert "***" in logs
    assert value not in str(home.get("imagebuild", "secret"))
    assert hashlib.sha256(value.encode()).hexdigest() in home.run(status["image"])


def test_an_operator_that_is_killed_goes_on_where_it_was(home, strata):
    home.apply(built("killed", "FROM busybox:1.36\nRUN sleep 6; echo done > /done\n"))
    home.until("a builder pod", lambda: home.pods("killed"), seconds=60, name="killed")
    operator = ("-n", "strata-system", "-l", "app.kubernetes.io/component=operator")
    strata("delete", "pod", *operator, "--force", "--grace-period=0")
    home.wait("killed", seconds=120)
    assert len(home.jobs("killed")) == 1


def test_twenty_builds_at_once_all_become_ready(home):
    names = [f"many-{number}" for number in range(20)]
    home.apply(*(built(name, source={"inline": {"f": name}}) for name in names))
    for name in names:
        home.wait(name, seconds=180)
