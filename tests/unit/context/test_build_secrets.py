"""Credentials for ADD among the secrets of a build."""

from __future__ import annotations

import base64

import pytest

from strata_builder import errors
from strata_builder.context import buildsecrets, gitref
from strata_builder.context.credentials import ANONYMOUS, Credentials

BASIC = b"basic " + base64.b64encode(b"ada:p:w")
GIT = [
    ({}, ANONYMOUS),
    ({"OTHER": b"x"}, ANONYMOUS),
    ({"GIT_AUTH_TOKEN": b"tok\n"}, Credentials("x-access-token", "tok")),
    ({"GIT_AUTH_HEADER": BASIC, "GIT_AUTH_TOKEN": b"tok"}, Credentials("ada", "p:w")),
    ({"GIT_AUTH_HEADER": b"Bearer tok"}, Credentials(bearer_token="tok")),
    ({"GIT_AUTH_TOKEN.host:8443": b"own", "GIT_AUTH_HEADER": BASIC}, Credentials("x-access-token", "own")),
    ({"GIT_AUTH_HEADER.host:8443": BASIC, "GIT_AUTH_TOKEN.host:8443": b"own"}, Credentials("ada", "p:w")),
    ({"GIT_AUTH_TOKEN.host": b"of another port", "GIT_AUTH_TOKEN.other": b"x"}, ANONYMOUS),
]


@pytest.mark.parametrize(("secrets", "found"), GIT)
def test_the_credentials_of_a_repository(secrets: dict[str, bytes], found: Credentials) -> None:
    assert buildsecrets.for_git(secrets, gitref.parse_url("https://host:8443/app.git")) == found


def test_a_token_is_not_for_ssh() -> None:
    assert buildsecrets.for_git({"GIT_AUTH_TOKEN": b"tok"}, gitref.parse_url("git@host:app.git")) == ANONYMOUS


FILES = [
    ({}, ANONYMOUS),
    ({"HTTP_AUTH_TOKEN_files": b"tok", "HTTP_AUTH_HEADER_files": BASIC}, Credentials(bearer_token="tok")),
    ({"HTTP_AUTH_HEADER_files": BASIC}, Credentials("ada", "p:w")),
    ({"HTTP_AUTH_TOKEN_other": b"tok", "HTTP_AUTH_TOKEN": b"tok"}, ANONYMOUS),
]


@pytest.mark.parametrize(("secrets", "found"), FILES)
def test_the_credentials_of_a_file(secrets: dict[str, bytes], found: Credentials) -> None:
    assert buildsecrets.for_file(secrets, "https://files:8443/x?y") == found


@pytest.mark.parametrize(
    "header",
    [b"Digest x", b"Basic !", b"basic", b"Basic " + base64.b64encode(b"nocolon"), b"bearer ", b"Basic \xc3\xbc"],
)
def test_a_header_of_another_kind_is_named_and_not_shown(header: bytes) -> None:
    with pytest.raises(
        errors.SourceAuthFailed, match="the secret GIT_AUTH_HEADER is no Authorization header"
    ) as caught:
        buildsecrets.for_git({"GIT_AUTH_HEADER": header}, gitref.parse_url("https://host/app.git"))
    assert header.decode() not in str(caught.value)


@pytest.mark.parametrize("name", ["HTTP_AUTH_TOKEN_files", "HTTP_AUTH_HEADER_files"])
def test_a_token_that_no_request_can_carry_is_refused_and_not_shown(name: str) -> None:
    text = "Bearer \ufefftok-s3cret" if "HEADER" in name else "\ufefftok-s3cret"
    with pytest.raises(errors.SourceAuthFailed, match="bearer token") as caught:
        buildsecrets.for_file({name: text.encode()}, "https://files/x")
    assert "s3cret" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize("token", [b"", b"two\nlines", b"\xff", b"a\rb"])
def test_a_token_that_is_none_is_named_and_not_shown(token: bytes) -> None:
    with pytest.raises(errors.SourceAuthFailed, match="the secret HTTP_AUTH_TOKEN_h is not"):
        buildsecrets.for_file({"HTTP_AUTH_TOKEN_h": token}, "https://h/")
