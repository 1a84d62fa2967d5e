"""What is answered: one line of JSON that forges show beside a delivery. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from strata_operator import names
from strata_operator.webhooks import deliveries

REFUSED: Final = 401
_RESULTS: Final = {
    200: "ignored",
    202: "accepted",
    400: "malformed",
    REFUSED: "refused",
    408: "slow",
    413: "large",
    429: "limited",
    503: "unavailable",
}
_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def result(status: int) -> str:
    """What an answer of this status is counted as; of a closed list."""
    return _RESULTS.get(status, "other")


def answer(status: int, headers: Mapping[str, str] | None = None, **said: str) -> web.Response:
    text = json.dumps(said, ensure_ascii=False) + "\n"
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)


def told(key: names.Key, spec: Mapping[str, Any], delivery: deliveries.Delivery) -> web.Response:
    """To somebody who knows the token of the ImageBuild `key`."""
    if delivery.kind is deliveries.Kind.PING:
        text = f"The signature is right. A push has the git source of ImageBuild {key} looked at."
        return answer(200, result="ignored", event=delivery.event, message=text)
    if delivery.kind is deliveries.Kind.OTHER:
        text = f"{delivery.event} is no push: nothing to do. ImageBuild {key} needs to be told of pushes alone."
        return answer(200, result="ignored", event=delivery.event, message=text)
    return answer(202, result="accepted", event=delivery.event, message=_next(key, spec))


def _next(key: names.Key, spec: Mapping[str, Any]) -> str:
    git = (spec.get("source") or {}).get("git") or {}
    revision = str(git.get("revision") or "")
    if _COMMIT.fullmatch(revision):
        return f"ImageBuild {key} builds commit {revision[:12]}, which no push can change: nothing happens."
    if spec.get("suspend"):
        return f"ImageBuild {key} is suspended (spec.suspend): its source is looked at when it no longer is."
    what = f"Revision {revision}" if revision else "The default branch"
    text = f"{what} of its git source is looked at now; a commit that was not built yet is built by ImageBuild {key}."
    return f"{text} See: kubectl -n {key.namespace} get imagebuild {key.name}"


def refused() -> web.Response:
    text = (
        "Refused: there is no such webhook here, or the delivery is not signed with its token. To the owner of the"
        " ImageBuild: spec.triggers.webhook names a Secret whose key `token` must be what the forge was given, and the"
        " ImageBuild's condition Webhook says if the operator cannot read it."
    )
    return answer(REFUSED, {"WWW-Authenticate": "Bearer"}, result="refused", message=text)


def too_large(limit: int) -> web.Response:
    text = f"The delivery is larger than {limit >> 20} MiB. The source is looked at when it is polled."
    return answer(413, result="large", message=text)


def too_slow() -> web.Response:
    return answer(408, result="slow", message="The delivery took too long to come.")


def too_often(who: str, wait: float) -> web.Response:
    seconds = max(math.ceil(wait), 1)
    text = f"Too often: {who} more than a few times a second. What was told before is looked at all the same."
    return answer(429, {"Retry-After": str(seconds)}, result="limited", message=text)


def nobody_acts() -> web.Response:
    text = "No operator acts at this moment. Deliver again soon; else the source is looked at when it is polled."
    return answer(503, {"Retry-After": "15"}, result="unavailable", message=text)


def no_room() -> web.Response:
    text = "Too many deliveries are being read at this moment. Deliver again soon."
    return answer(503, {"Retry-After": "5"}, result="unavailable", message=text)


def malformed(why: str) -> web.Response:
    return answer(400, result="malformed", message=f"This is no envelope of registry notifications: {why[:100]}")
