"""Asking real git servers where a revision stands, and not asking those that must not be asked."""

import base64
from pathlib import Path

from strata_builder import contract
from strata_builder.context.credentials import Credentials
from strata_operator import addresses
from strata_operator.imagebuild import questions
from strata_operator.imagebuild.triggers import git
from support.git_server import HttpServer, Repository, server_tls

HERE = addresses.Filter.of(["127.0.0.0/8"])
EVERYWHERE_ELSE = addresses.Filter.of([])


def test_a_branch_that_moves_is_seen(tmp_path):
    repository = Repository.make(tmp_path)
    first = repository.commit({"a": "1"})
    with HttpServer(tmp_path) as server:
        url = f"{server.url}/app.git"
        assert git.resolve(url, "main", None, admits=HERE) == questions.Resolved(first, "refs/heads/main")
        second = repository.commit({"a": "2"})
        assert git.resolve(url, "main", None, admits=HERE) == questions.Resolved(second, "refs/heads/main")


def test_credentials_and_authorities_are_used(tmp_path):
    tls, ca = server_tls(tmp_path)
    commit = Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path, user="u", password="p", tls=tls) as server:
        url = f"{server.url}/app.git"
        login = Credentials.of({"username": b"u", "password": b"p"})
        assert git.resolve(url, "main", login, admits=HERE, ca=ca) == questions.Resolved(commit, "refs/heads/main")
        wrong = git.resolve(url, "main", Credentials.of({"username": b"u", "password": b"no"}), admits=HERE, ca=ca)
        assert isinstance(wrong, contract.Failure)
        assert wrong.reason == "SourceAuthFailed"
        header = base64.b64encode(b"u:no").decode()
        assert header not in str(wrong)


def test_a_branch_that_is_not_there_and_a_server_that_is_not_there(tmp_path):
    Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path) as server:
        missing = git.resolve(f"{server.url}/app.git", "nope", None, admits=HERE)
        gone = f"{server.url}/app.git"
    assert isinstance(missing, contract.Failure)
    assert (missing.reason, "nope" in missing.message) == ("ReferenceNotFound", True)
    away = git.resolve(gone, "main", None, admits=HERE)
    assert isinstance(away, contract.Failure)
    assert away.reason == "SourceUnavailable"
    unknown = git.resolve("https://no-such-host.invalid/a.git", "main", None, admits=HERE)
    assert isinstance(unknown, contract.Failure)
    assert unknown.reason == "SourceUnavailable"


def test_a_loopback_address_is_never_asked(tmp_path: Path):
    Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path) as server:
        for url in (f"{server.url}/app.git", f"http://localhost:{server.port}/app.git"):
            answer = git.resolve(url, "main", None, admits=EVERYWHERE_ELSE)
            assert isinstance(answer, questions.Unseen)
            assert "pollAllowedCidrs" in answer.message
        assert server.log == []
