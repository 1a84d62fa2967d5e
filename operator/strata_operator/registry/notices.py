"""What makes a managed Registry tell the operator of pushes: environment variables of its container. Pure.

distribution reads each field of its configuration from a variable as well. So the token comes out of the Secret and is in
no ConfigMap, and a Registry that tells nobody is made exactly as it was before there were notices: its pod need not start
again. Its log would show the headers of an endpoint, token and all, at level info; warn is without.
"""

from __future__ import annotations

import json
from typing import Any, Final

from strata_operator import names, settings
from strata_operator.registry import material, spec

SERVICE: Final = f"{names.OPERATOR}-webhooks"
_TOKEN: Final = "STRATA_NOTIFY_TOKEN"  # noqa: S105  the name of a variable


def environment(registry: spec.Registry, options: settings.Settings) -> list[dict[str, Any]]:
    """Empty unless the settings ask for notices."""
    if not options.registry_notifications:
        return []
    token = {"name": names.SECRET_REGISTRY, "key": material.notify_key(registry.name)}
    return [
        {"name": _TOKEN, "valueFrom": {"secretKeyRef": token}},
        # The kubelet puts the token in: a variable may be made of those before it.
        {"name": "REGISTRY_NOTIFICATIONS_ENDPOINTS", "value": json.dumps([_endpoint(registry, options)])},
        {"name": "REGISTRY_LOG_LEVEL", "value": "warn"},
    ]


def _endpoint(registry: spec.Registry, options: settings.Settings) -> dict[str, Any]:
    """Blobs and pulls are nobody's concern. While the operator is away a registry keeps what it has to tell in memory,
    which is a hundred bytes or so for each push of a manifest."""
    port = options.webhook_listen.rpartition(":")[2]
    host = f"{SERVICE}.{options.namespace}.svc.{options.cluster_domain}"
    return {
        "name": "strata",
        "url": f"http://{host}:{port}/registries/{registry.namespace}/{registry.name}",
        "headers": {"Authorization": [f"Bearer $({_TOKEN})"]},
        "timeout": "5s",
        "threshold": 3,
        "backoff": "15s",
        "ignore": {"mediatypes": ["application/octet-stream"], "actions": ["pull", "mount", "delete"]},
    }
