"""The order of requests that gets a client in; no socket is opened here."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import pytest

from strata_builder.registry import errors
from strata_builder.registry.auth import Authenticator
from strata_builder.registry.config import Credential
from strata_builder.registry.messages import Request

ALICE = Credential("alice", "s3:cr$t pä")
BEARER = 'Bearer realm="https://auth.example/token",service="reg",scope="repository:a:pull"'


@dataclass
class Answer:
    status: int
    challenge: str = ""
    body: bytes = b""
    limits: list[int] = field(default_factory=list)
    retry_after: str = ""

    def headers_of(self, name: str) -> list[str]:
        said = {"www-authenticate": self.challenge, "retry-after": self.retry_after}.get(name)
        return [said] if said else []

    def read_all(self, limit: int) -> bytes:
        self.limits.append(limit)
        return self.body


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def token(value: str = "tok", **more) -> Answer:
    return Answer(200, body=json.dumps({"token": value, **more}).encode())


def drive(authenticator: Authenticator, answers: list[Answer], scopes: tuple[str, ...] = ()) -> list[Request]:
    """The requests that were sent; every answer must have been used."""
    flow = authenticator.flow(Request("GET", "https://reg/v2/"), scopes)
    sent = [next(flow)]
    for n, answer in enumerate(answers):
        try:
            sent.append(flow.send(answer))
        except StopIteration:
            assert n == len(answers) - 1
            return sent
    raise AssertionError("the flow wants more answers")


def make(credential: Credential | None = ALICE, **more) -> Authenticator:
    return Authenticator("reg", credential, clock=more.pop("clock", Clock()), **more)


@pytest.mark.parametrize("challenge", ['Basic realm="x"', "BASIC", 'Negotiate, basic realm="a, b"'])
def test_basic_is_sent_in_utf8_once_it_is_asked_for(challenge):
    auth = make()
    sent = drive(auth, [Answer(401, challenge), Answer(200)])
    assert sent[0].authorization == ""
    assert base64.b64decode(sent[1].authorization.removeprefix("Basic ")).decode("utf-8") == "alice:s3:cr$t pä"
    assert drive(auth, [Answer(200)])[0].authorization == sent[1].authorization


def test_a_wrong_password_is_sent_once():
    auth = make()
    assert len(drive(auth, [Answer(401, "Basic"), Answer(401, "Basic")])) == 2
    assert len(drive(auth, [Answer(401, "Basic")])) == 1


def test_a_password_that_worked_gets_one_second_chance():
    auth = make()
    drive(auth, [Answer(401, "Basic"), Answer(200)])
    assert len(drive(auth, [Answer(401, "Basic"), Answer(401, "Basic")])) == 2
    assert len(drive(auth, [Answer(401, "Basic")])) == 1


def test_without_credentials_basic_is_the_end():
    assert len(drive(make(None), [Answer(401, "Basic")])) == 1


def test_a_token_is_asked_for_with_all_scopes_and_used():
    sent = drive(make(), [Answer(401, BEARER), token(), Answer(200)], ("repository:b:pull,push", "repository:a:pull"))
    query = parse_qsl(urlsplit(sent[1].url).query)
    assert query == [
        ("service", "reg"),
        ("scope", "repository:b:pull,push"),
        ("scope", "repository:a:pull"),
        ("account", "alice"),
    ]
    assert sent[1].url.startswith("https://auth.example/token?")
    assert sent[1].authorization.startswith("Basic ")
    assert sent[2].authorization == "Bearer tok"


def test_an_anonymous_token_is_asked_for_without_password():
    sent = drive(make(None), [Answer(401, BEARER), token(), Answer(200)])
    assert sent[1].authorization == ""
    assert ("scope", "repository:a:pull") in parse_qsl(urlsplit(sent[1].url).query)


def test_a_token_is_reused_for_its_scopes_until_most_of_its_life_is_over():
    clock = Clock()
    auth = make(clock=clock)
    drive(auth, [Answer(401, BEARER), token(expires_in=100), Answer(200)], ("repository:a:pull",))
    clock.now += 79
    assert drive(auth, [Answer(200)], ("repository:a:pull",))[0].authorization == "Bearer tok"
    clock.now += 2
    sent = drive(auth, [token("new"), Answer(200)], ("repository:a:pull",))
    assert [r.authorization[:6] for r in sent] == ["Basic ", "Bearer"]


def test_a_token_without_expires_in_lives_a_minute():
    clock = Clock()
    auth = make(clock=clock)
    drive(auth, [Answer(401, BEARER), token(), Answer(200)], ("repository:a:pull",))
    clock.now += 47
    assert len(drive(auth, [Answer(200)], ("repository:a:pull",))) == 1
    clock.now += 2
    assert len(drive(auth, [token(), Answer(200)], ("repository:a:pull",))) == 2


@pytest.mark.parametrize("life", [10**400, float("inf"), 2**63])
def test_a_token_lives_no_longer_than_a_day_whatever_its_server_says(life):
    clock = Clock()
    auth = make(clock=clock)
    drive(auth, [Answer(401, BEARER), token(expires_in=life), Answer(200)], ("repository:a:pull",))
    clock.now += 86_400
    assert len(drive(auth, [token(), Answer(200)], ("repository:a:pull",))) == 2


@pytest.mark.parametrize("life", [0, -1, float("nan"), True, "60", None, []])
def test_a_life_that_is_none_counts_as_not_told(life):
    auth = make()
    drive(auth, [Answer(401, BEARER), token(expires_in=life), Answer(200)], ("repository:a:pull",))
    assert len(drive(auth, [Answer(200)], ("repository:a:pull",))) == 1


def test_another_scope_needs_another_token_before_the_body_is_sent():
    auth = make()
    drive(auth, [Answer(401, BEARER), token(), Answer(200)], ("repository:a:pull",))
    sent = drive(auth, [token("push"), Answer(201)], ("repository:a:pull,push",))
    assert sent[1].authorization == "Bearer push"


def test_access_token_is_another_name_for_token():
    answer = Answer(200, body=b'{"access_token": "tok"}')
    assert drive(make(), [Answer(401, BEARER), answer, Answer(200)])[2].authorization == "Bearer tok"


def test_less_granted_than_asked_is_final():
    insufficient = Answer(401, BEARER + ',error="insufficient_scope"')
    assert len(drive(make(), [Answer(401, BEARER), token(), insufficient])) == 3
    assert len(drive(make(), [Answer(401, BEARER), token(), Answer(401, BEARER)])) == 3


def test_a_revoked_token_is_replaced_once():
    auth = make()
    drive(auth, [Answer(401, BEARER), token(), Answer(200)], ("repository:a:pull",))
    sent = drive(auth, [Answer(401, BEARER), token("new"), Answer(200)], ("repository:a:pull",))
    assert [r.authorization for r in sent if not r.is_token] == ["Bearer tok", "Bearer new"]


def test_an_identity_token_is_posted():
    sent = drive(make(Credential(identity_token="refresh")), [Answer(401, BEARER), token(), Answer(200)])
    assert isinstance(sent[1].body, bytes)
    form = dict(parse_qsl(sent[1].body.decode()))
    assert (sent[1].method, form["grant_type"], form["refresh_token"], form["service"]) == (
        "POST",
        "refresh_token",
        "refresh",
        "reg",
    )
    assert "refresh" not in sent[1].url


def test_a_password_is_never_sent_to_a_token_server_without_tls():
    plain = BEARER.replace("https", "http")
    with pytest.raises(errors.ProtocolError, match="not encrypted; no password was sent"):
        drive(make(), [Answer(401, plain)])
    assert drive(make(insecure=True), [Answer(401, plain), token(), Answer(200)])[1].authorization
    assert len(drive(make(None), [Answer(401, plain), token(), Answer(200)])) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "problem"),
    [
        (
            Answer(401, body=b'{"errors":[{"code":"UNAUTHORIZED","message":"bad password"}]}'),
            errors.Unauthorized,
            "authentication failed for reg.*bad",
        ),
        (Answer(403), errors.Denied, "authentication failed for reg"),
        (Answer(400, body=b"<html>"), errors.Unauthorized, "answered 400\n"),
        (Answer(503), errors.Unavailable, "no token for reg"),
        (Answer(200, body=b"<html>"), errors.ProtocolError, "gave no token"),
        (Answer(200, body=b'{"token": ""}'), errors.ProtocolError, "gave no token"),
        (Answer(200, body=b'{"token": "a\\r\\nX: y"}'), errors.ProtocolError, "gave no token"),
        (Answer(200, body=b"[" * 9999), errors.ProtocolError, "gave no token"),
    ],
)
def test_what_a_token_server_answers_instead_is_explained(answer, kind, problem):
    with pytest.raises(kind, match=problem) as caught:
        drive(make(), [Answer(401, BEARER), answer])
    assert "s3:cr$t" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("", None), ("soon", None)])
def test_a_token_server_is_asked_again_when_it_says(status, said, seconds):
    with pytest.raises(errors.Unavailable) as caught:
        drive(make(), [Answer(401, BEARER), Answer(status, retry_after=said)])
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("realm", ["ftp://x/", "/relative", "https://u:p@evil/", "javascript:1", ""])
def test_a_strange_realm_gets_no_request(realm):
    flow = make().flow(Request("GET", "https://reg/v2/"))
    next(flow)
    with pytest.raises((errors.ProtocolError, StopIteration)):
        flow.send(Answer(401, f'Bearer realm="{realm}"'))


def test_nothing_secret_is_ever_shown():
    auth = make()
    sent = drive(auth, [Answer(401, BEARER), token("tok"), Answer(200)])
    for thing in (*sent, ALICE, auth, Credential(identity_token="idt"), vars(auth)["_tokens"]):
        assert not any(secret in repr(thing) for secret in ("s3:cr", 'tok"', "idt", "YWxpY2U6"))
