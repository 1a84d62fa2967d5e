"""Signatures: the test values that providers publish, what each of them sends, and what has been tampered with."""

import base64
import hashlib
import hmac

import pytest
from multidict import CIMultiDict

from strata_operator.webhooks import signatures

TOKEN = "0f3c-a-token-with-ünicode"
BODY = b'{"ref":"refs/heads/main"}'


def hexed(token: str, body: bytes) -> str:
    return hmac.new(token.encode(), body, hashlib.sha256).hexdigest()


def standard(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode()


def proven(token: str, headers: dict[str, str], body: bytes = BODY, pieces: int = 1) -> bool:
    check = signatures.Check(token, CIMultiDict(headers))
    size = max(len(body) // pieces, 1)
    for start in range(0, len(body), size):
        check.feed(body[start : start + size])
    return check.proven()


#: (token, headers, body) as the providers' documentation has them.
PUBLISHED = {
    "github": (
        "It's a Secret to Everybody",
        {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        b"Hello, World!",
    ),
    "bitbucket": (
        "It's a Secret to Everybody",
        {"X-Hub-Signature": "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"},
        b"Hello World!",
    ),
    "standard-webhooks": (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        b'{"test": 2432232314}',
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("pieces", [1, 3])
def test_published_values_hold(name: str, pieces: int) -> None:
    token, headers, body = PUBLISHED[name]
    assert proven(token, headers, body, pieces)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values_hold_for_nothing_else(name: str) -> None:
    token, headers, body = PUBLISHED[name]
    assert not proven(token, headers, body + b" ")
    assert not proven(token, headers, body[:-1])
    assert not proven(token[:-4] + "AAAA", headers, body)
    assert not proven(token, {}, body)
    for header in headers:
        changed = headers[header][:-2] + ("0=" if headers[header].endswith("=") else "00")
        assert not proven(token, {**headers, header: changed}, body), header


def senders() -> dict[str, dict[str, str]]:
    digest = hexed(TOKEN, BODY)
    key = base64.b64encode(b"k" * 32).decode()
    return {
        "github": {"X-Hub-Signature-256": f"sha256={digest}", "X-Hub-Signature": "sha1=" + "0" * 40},
        "gitea": {"X-Gitea-Signature": digest, "X-Hub-Signature-256": f"sha256={digest}", "X-Gogs-Signature": digest},
        "gitea alone": {"X-Gitea-Signature": digest},
        "forgejo": {"X-Forgejo-Signature": digest},
        "gogs": {"X-Gogs-Signature": digest},
        "bitbucket": {"X-Hub-Signature": f"sha256={digest}"},
        "gitlab token": {"X-Gitlab-Token": TOKEN},
        "generic": {"X-Strata-Signature-256": f"sha256={digest}"},
        "bearer": {"Authorization": f"Bearer {TOKEN}"},
        "bearer in small": {"authorization": f"bearer  {TOKEN}"},
        "standard with a key as text": {
            "webhook-id": "a",
            "webhook-timestamp": "5",
            "webhook-signature": f"v1,{key} " + standard(TOKEN.encode(), "a", "5", BODY),
        },
    }


@pytest.mark.parametrize("name", senders())
def test_each_way_of_proving_is_taken_and_no_other_body_with_it(name: str) -> None:
    headers = senders()[name]
    assert proven(TOKEN, headers)
    assert not proven(TOKEN + "x", headers)
    by_token = "token" in name or "bearer" in name
    assert proven(TOKEN, headers, BODY + b" ") is by_token


def test_gitlabs_signing_token_is_base64_after_its_prefix() -> None:
    key = bytes(range(32))
    token = "whsec_" + base64.b64encode(key).decode()
    headers = {"webhook-id": "f5e5f430-f57b-4e6e-9fac-d9128cd7232f", "webhook-timestamp": "1776000000"}
    signature = standard(key, headers["webhook-id"], headers["webhook-timestamp"], BODY)
    assert proven(token, {**headers, "webhook-signature": signature, "X-Gitlab-Event": "Push Hook"})
    assert not proven(token, {**headers, "webhook-timestamp": "1776000001", "webhook-signature": signature})
    assert not proven(token, {**headers, "webhook-id": "other", "webhook-signature": signature})


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Gitlab-Token": ""},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic " + base64.b64encode(b":").decode()},
        {"X-Hub-Signature-256": "sha256=" + hexed("", BODY)},
        {"X-Gitea-Signature": hexed("", BODY)},
        {"webhook-signature": standard(b"", "", "", BODY)},
    ],
)
def test_an_empty_token_proves_nothing(headers: dict[str, str]) -> None:
    assert not proven("", headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Hub-Signature-256": hexed(TOKEN, BODY)},  # without sha256=
        {"X-Hub-Signature-256": "SHA256=" + hexed(TOKEN, BODY)},
        {"X-Hub-Signature-256": "sha256=" + hexed(TOKEN, BODY).upper()},
        {"X-Hub-Signature": "sha1=" + hmac.new(TOKEN.encode(), BODY, hashlib.sha1).hexdigest()},
        {"X-Gitea-Signature": "sha256=" + hexed(TOKEN, BODY)},
        {"X-Gitea-Signature": ""},
        {"X-Gitlab-Token": TOKEN + " "},
        {"X-Gitlab-Token": f"Bearer {TOKEN}"},
        {"Authorization": TOKEN},
        {"X-Hub-Signature-256": "sha256=é\udcff"},
        {"webhook-signature": "v1 " * 3000},
    ],
)
def test_what_nobody_sends_is_refused(headers: dict[str, str]) -> None:
    assert not proven(TOKEN, headers)


def test_an_unusable_signing_key_is_only_a_key_that_fits_nothing() -> None:
    assert not proven("whsec_%%%", {"webhook-signature": "v1,x"})
    assert proven("whsec_%%%", {"X-Gitlab-Token": "whsec_%%%"})
