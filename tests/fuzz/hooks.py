"""What strangers and registries send to the receiver of webhooks: envelopes, and heads with signatures."""

from __future__ import annotations

import json
from typing import Final

from multidict import CIMultiDict

from fuzz.target import Target, said
from strata_operator.webhooks import deliveries, envelopes, signatures

_TOKEN: Final = "a token that nobody guesses"
_EVENT: Final = {"action": "push", "target": {"repository": "team/base", "tag": "1", "digest": "sha256:00"}}


def notices(data: bytes) -> None:
    try:
        found = envelopes.pushed(data)
    except ValueError as error:
        said(error)
        return
    assert len(found) == len(set(found)) <= 1000
    events = [{"action": "push", "target": one._asdict()} for one in found]
    assert envelopes.pushed(json.dumps({"events": events}).encode()) == found


def heads(data: bytes) -> None:
    """Lines are headers, as aiohttp decodes them; the rest after an empty line is the body. None is ever right."""
    head, _, body = data.decode("utf-8", "surrogateescape").partition("\n\n")
    lines = (line.partition(": ") for line in head.split("\n"))
    headers = CIMultiDict((name, value) for name, _, value in lines)
    check = signatures.Check(_TOKEN, headers)
    check.feed(body.encode("utf-8", "surrogateescape"))
    assert not check.proven()
    delivery = deliveries.read(headers)
    assert delivery.forge in deliveries.FORGES
    assert delivery.event.isprintable()


TARGETS: Final = (
    Target(
        "registry notices",
        notices,
        (json.dumps({"events": [_EVENT, {**_EVENT, "action": "pull"}]}).encode(),),
        (b'"action"', b'"push"', b'"target"', b'"tag"', b'"repository"', b"null", b"[", b"{", b"1e999"),
    ),
    Target(
        "webhook heads",
        heads,
        (
            b"X-GitHub-Event: push\nX-Hub-Signature-256: sha256=00\n\n{}",
            b"X-Gitlab-Event: Push Hook\nX-Gitlab-Token: x\n\n{}",
            b"webhook-id: a\nwebhook-timestamp: 1\nwebhook-signature: v1,AA== v1,BB==\nAuthorization: Bearer x\n\n",
        ),
        (b"X-Gitea-Signature", b"X-Event-Key", b"sha256=", b"v1,", b"Bearer ", b"\xff", b"\n"),
    ),
)
