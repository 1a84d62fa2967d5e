"""A notice as an HTTP request of CloudEvents 1.0, in structured or binary mode. Pure.

(CloudEvents 1.0.2; HTTP Protocol Binding 1.0.2. Eight attributes and a JSON document need no library.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from strata_operator import names
from strata_operator.notifications import notices, sinks


def attributes(notice: notices.Notice, *, prefix: str, now: str) -> dict[str, str]:
    """The context attributes. `prefix` comes before the source, so that clusters can be told apart."""
    return {
        "specversion": "1.0",
        "id": notice.id,
        "source": prefix.rstrip("/") + names.IMAGEBUILDS.path(notice.namespace),
        "type": sinks.TYPE_PREFIX + notice.transition,
        "subject": notice.name,
        "time": notice.time or now,
        "datacontenttype": "application/json",
    }


def request(mode: str, context: Mapping[str, str], data: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """Headers and body. Every header value is ASCII: names of objects and the cluster's own words."""
    if mode == "Binary":
        headers = {f"ce-{name}": value for name, value in context.items() if name != "datacontenttype"}
        return {"Content-Type": context["datacontenttype"]} | headers, _json(data)
    return {"Content-Type": "application/cloudevents+json; charset=utf-8"}, _json({**context, "data": dict(data)})


def _json(value: Mapping[str, Any]) -> bytes:
    """What JSON cannot say of a text (a lone surrogate) is escaped, and stays valid."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")
