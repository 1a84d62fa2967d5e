"""The logins of each Registry, in memory, so that writing a namespace's pull secret reads no other Secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strata_builder.registry import config

DOCKER_CONFIG_KEY: Final = ".dockerconfigjson"


@dataclass(frozen=True, slots=True)
class Logins:
    """host[:port] -> credential, for pulling and for pushing; empty where none are needed."""

    pull: Mapping[str, config.Credential] = field(default_factory=dict, repr=False)
    push: Mapping[str, config.Credential] = field(default_factory=dict, repr=False)


class Vault:
    """Logins by the Registry's uid; absent = not known yet."""

    def __init__(self) -> None:
        self._logins: dict[str, Logins] = {}

    def get(self, uid: str) -> Logins | None:
        return self._logins.get(uid)

    def put(self, uid: str, logins: Logins) -> bool:
        """Whether that is news."""
        news = self._logins.get(uid) != logins
        self._logins[uid] = logins
        return news

    def keep(self, uids: set[str]) -> None:
        """Forget all others."""
        self._logins = {uid: logins for uid, logins in self._logins.items() if uid in uids}


def docker_config(logins: Mapping[str, config.Credential], kept: Mapping[str, Any]) -> str:
    """A dockerconfigjson with an entry a host; `kept` are entries as they stand."""
    auths = dict(kept) | {host: _entry(credential) for host, credential in logins.items()}
    return json.dumps({"auths": auths}, sort_keys=True)


def _entry(credential: config.Credential) -> dict[str, str]:
    auth = base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()
    return {"username": credential.username, "password": credential.password, "auth": auth}


def entries(text: str) -> dict[str, Any]:
    """The entries of a dockerconfigjson of ours; none if it cannot be read."""
    try:
        auths = json.loads(text or "{}").get("auths")
    except (ValueError, AttributeError):
        return {}
    return auths if isinstance(auths, dict) else {}
