"""Which credential belongs to which host, from docker's, podman's and Kubernetes' files."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from strata_builder.registry import config, errors
from strata_builder.registry.config import Credential, DockerConfig


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def load(document: object, **more) -> DockerConfig:
    return DockerConfig.load([json.dumps(document).encode()], **more)


SECRET = load(
    {
        "auths": {
            "reg.example:5000": auth("u:p:q"),
            "http://other.example": {"username": "a", "password": "b"},
            "https://index.docker.io/v1/": auth("hub:x"),
            "https://slash.example/v2/": auth("s:t"),
            "deep.example": auth("top:1"),
            "deep.example/team": auth("team:2"),
            "deep.example/team/app": auth("app:3"),
            "*.glob.example": auth("g:4"),
            "empty.example": {},
            "token.example": {"auth": "", "identitytoken": "idt"},
            "ümläut.example": auth("ü:ä"),
        }
    }
)


@pytest.mark.parametrize(
    ("host", "repository", "expected"),
    [
        ("reg.example:5000", "x/y", ("u", "p:q")),
        ("reg.example:5001", "x/y", None),
        ("reg.example", "x/y", None),
        ("other.example", "x", ("a", "b")),
        ("docker.io", "library/x", ("hub", "x")),
        ("index.docker.io", "library/x", ("hub", "x")),
        ("slash.example", "x", ("s", "t")),
        ("deep.example", "other", ("top", "1")),
        ("deep.example", "team/web", ("team", "2")),
        ("deep.example", "team/app", ("app", "3")),
        ("deep.example", "team/app/sub", ("app", "3")),
        ("deep.example", "teamwork", ("top", "1")),
        ("a.glob.example", "x", ("g", "4")),
        ("a.b.glob.example", "x", None),
        ("glob.example", "x", None),
        ("empty.example", "x", None),
        ("DEEP.example", "x", ("top", "1")),
        ("ümläut.example", "x", ("ü", "ä")),
    ],
)
def test_the_credential_of_a_host_is_found(host, repository, expected):
    found = SECRET.lookup(host, repository)
    assert (found and (found.username, found.password)) == expected


def test_an_identity_token_is_a_credential():
    assert SECRET.lookup("token.example") == Credential(identity_token="idt")


def test_of_several_files_the_first_wins(tmp_path):
    (tmp_path / "one").write_text(json.dumps({"auths": {"x": auth("one:1")}}))
    (tmp_path / "two").write_text(json.dumps({"auths": {"x": auth("two:2"), "y": auth("two:3")}}))
    both = DockerConfig.load([tmp_path / "one", tmp_path / "two"])
    assert [getattr(both.lookup(h), "username", None) for h in ("x", "y")] == ["one", "two"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not valid JSON at line 1"),
        (b'{"auths": {"x": {"auth": "c2VjcmV0', "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'{"auths": []}', "auths must be an object"),
        (b'{"auths": {"x": "secret"}}', r"auths\['x'\] must be an object"),
        (b'{"auths": {"x": {"auth": "c2VjcmV0"}}}', "no colon"),
        (b'{"auths": {"x": {"auth": "secret!"}}}', "not base64"),
        (b'{"auths": {"x": {"auth": "/////w=="}}}', "UTF-8"),
        (b'{"auths": {"x": {"username": 1, "password": "secret"}}}', "username must be a string"),
        (b'{"credHelpers": {"x": "../../bin/secret"}}', "no name of a credential helper"),
        (b'{"credsStore": "a b"}', "no name of a credential helper"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_file_and_no_secret(tmp_path, data, problem):
    path = tmp_path / "pull" / ".dockerconfigjson"
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(errors.CredentialsInvalid, match=problem) as caught:
        DockerConfig.load([path])
    assert str(path) in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize("field", ["username", "password", "identitytoken"])
def test_a_login_that_no_request_can_carry_is_refused_where_it_is_read(field):
    data = json.dumps({"auths": {"h": {"username": "a", "password": "s3cret", field: "s3cret\ud800"}}})
    with pytest.raises(errors.CredentialsInvalid, match=rf"auths\['h'\]: {field} is no valid Unicode") as caught:
        DockerConfig.load([data.encode()])
    assert "s3cret" not in str(caught.value)


def test_a_key_that_is_longer_than_any_host_is_no_pattern():
    pattern = "*." + "[" * 200_000
    assert DockerConfig.load([json.dumps({"auths": {pattern: {"username": "a"}}}).encode()]).lookup("a.b") is None


def test_a_missing_file_is_an_error_and_not_anonymity(tmp_path):
    with pytest.raises(errors.CredentialsInvalid, match=f"{tmp_path}/gone: No such file"):
        DockerConfig.load([tmp_path / "gone"])


def test_helpers_come_before_the_store_and_the_store_before_auths():
    asked = []

    def run(name: str, server: str) -> Credential | None:
        asked.append((name, server))
        return Credential(name, "x") if server in ("a", "b", "https://index.docker.io/v1/") else None

    found = load(
        {"credHelpers": {"a": "helper"}, "credsStore": "store", "auths": {"a": auth("u:p"), "c": auth("c:p")}},
        run_helper=run,
    )
    assert [getattr(found.lookup(h), "username", None) for h in ("a", "b", "c", "docker.io", "d")] == [
        "helper",
        "store",
        "c",
        "store",
        None,
    ]
    assert asked[0] == ("helper", "a")
    assert asked[3] == ("store", "https://index.docker.io/v1/")


def test_without_a_runner_helpers_are_passed_over():
    assert load({"credHelpers": {"a": "h"}, "credsStore": "s", "auths": {"a": auth("u:p")}}).lookup("a") == Credential(
        "u", "p"
    )


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            'read s; echo "{\\"ServerURL\\":\\"$s\\",\\"Username\\":\\"u-$s\\",\\"Secret\\":\\"p\\"}"',
            Credential("u-reg.example", "p"),
        ),
        ('echo \'{"Username":"<token>","Secret":"idt"}\'', Credential(identity_token="idt")),
        ("echo credentials not found in native keychain; exit 1", None),
    ],
)
def test_a_helper_program_is_run_as_docker_runs_it(tmp_path, monkeypatch, script, expected):
    program = tmp_path / "docker-credential-mine"
    program.write_text(f"#!/bin/sh\n[ $1 = get ] || exit 9\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert config.run_helper("mine", "reg.example") == expected


@pytest.mark.parametrize(
    ("script", "problem"),
    [("echo locked >&2; exit 3", "locked"), ("echo nonsense", "not valid JSON"), ("exit 4", "exit code 4")],
)
def test_a_helper_that_fails_is_an_error(tmp_path, monkeypatch, script, problem):
    program = tmp_path / "docker-credential-mine"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(errors.CredentialsInvalid, match=problem):
        config.run_helper("mine", "reg.example")


def test_a_missing_helper_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.CredentialsInvalid, match="docker-credential-gone could not be run"):
        config.run_helper("gone", "reg.example")


def test_the_files_of_docker_and_podman_are_found(tmp_path):
    wanted = [tmp_path / ".docker/config.json", tmp_path / "run/containers/auth.json"]
    for path in wanted:
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert config.default_paths(environ) == tuple(wanted)
    assert config.default_paths({**environ, "DOCKER_CONFIG": str(tmp_path / "none")}) == tuple(wanted[1:])


@pytest.mark.parametrize(
    ("environ", "found"),
    [({}, True), ({"XDG_RUNTIME_DIR": ""}, True), ({"XDG_RUNTIME_DIR": "/run/user/0"}, False)],
)
def test_podmans_logins_are_found_where_no_session_has_a_folder_too(environ, found, monkeypatch):
    """As for root in a container, by sudo or from cron: containers-auth.json(5)."""
    place = Path(f"/run/containers/{os.getuid()}/auth.json")
    monkeypatch.setattr(os.path, "isfile", lambda path: path == place)
    monkeypatch.setattr(Path, "is_file", lambda path: path == place)
    assert config.default_paths({"HOME": "/root", **environ}) == ((place,) if found else ())


def test_nothing_secret_is_shown():
    assert not any(secret in repr(SECRET) for secret in ("p:q", "idt", "'b'"))
