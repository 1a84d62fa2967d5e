"""The secrets of a managed Registry: made once, kept, completed when a part is missing or about to expire.

They live in two Secrets shared by all Registries of a namespace, keys prefixed by the Registry's name:
`strata-registry` for what only the operator reads, `strata-registry-serving` for what the registry's pod mounts. Each
Registry has a field manager of its own in them, so that no write of one can touch the keys of another, and an apply
without keys removes its own.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from strata_operator import names
from strata_operator.registry import htpasswd, tls

USER_PUSH: Final = "strata-push"
USER_PULL: Final = "strata-pull"
USER_OPERATOR: Final = "strata-operator"
USERS: Final = (USER_OPERATOR, USER_PULL, USER_PUSH)

KEY_HTTP_SECRET: Final = "http-secret"  # noqa: S105  a key, not a secret
KEY_CA_KEY: Final = "ca.key"
KEY_CA: Final = "ca.crt"
KEY_CA_BUNDLE: Final = "ca-bundle.crt"
KEY_CERTIFICATE: Final = "tls.crt"
KEY_NOTIFY: Final = "notify-token"
KEY_KEY: Final = "tls.key"
KEY_HTPASSWD: Final = "htpasswd"


@dataclass(frozen=True, slots=True)
class Material:
    """`passwords` by user; `bundle` is what clients trust: this authority and, until they expire, its predecessors."""

    passwords: Mapping[str, str] = field(repr=False)
    http_secret: str = field(repr=False)
    ca: tls.Pair = field(repr=False)
    serving: tls.Pair = field(repr=False)
    bundle: str
    htpasswd: str = field(repr=False)
    notify: str = field(default="", repr=False)  # empty where it tells nobody of what is pushed

    def private(self, registry: str) -> dict[str, str]:
        """The keys of this Registry in `strata-registry`."""
        parts = {
            **self.passwords,
            KEY_HTTP_SECRET: self.http_secret,
            KEY_CA_KEY: self.ca.key,
            KEY_CA: self.ca.certificate,
        }
        parts |= {KEY_NOTIFY: self.notify} if self.notify else {}
        return {f"{registry}.{key}": value for key, value in parts.items()}

    def served(self, registry: str) -> dict[str, str]:
        """The keys of this Registry in `strata-registry-serving`."""
        parts = {
            KEY_HTPASSWD: self.htpasswd,
            KEY_CERTIFICATE: self.serving.certificate,
            KEY_KEY: self.serving.key,
            KEY_CA_BUNDLE: self.bundle,
        }
        return {f"{registry}.{key}": value for key, value in parts.items()}


def ensure(
    registry: str,
    private: Mapping[str, str],
    served: Mapping[str, str],
    *,
    hosts: Sequence[str],
    now: float,
    notifies: bool = False,
) -> Material:
    """The material of `registry`, from the decoded data of the two Secrets; whatever is missing or stale is made.

    `notifies` asks for a token by which it tells of what is pushed; one that is there is kept.
    """

    def kept(data: Mapping[str, str], key: str) -> str:
        return data.get(f"{registry}.{key}", "")

    passwords = {
        user: found if htpasswd.usable(found := kept(private, user)) else htpasswd.password() for user in USERS
    }
    ca = tls.Pair(kept(private, KEY_CA), kept(private, KEY_CA_KEY))
    if not tls.ca_is_good(ca, now):
        ca = tls.make_ca(registry, now)
    serving = tls.Pair(kept(served, KEY_CERTIFICATE), kept(served, KEY_KEY))
    if not tls.serving_is_good(serving, ca, hosts, now):
        serving = tls.make_serving(ca, hosts, now)
    older = [pem for pem in tls.still_valid(kept(served, KEY_CA_BUNDLE), now) if pem != ca.certificate]
    return Material(
        passwords=passwords,
        http_secret=kept(private, KEY_HTTP_SECRET) or secrets.token_hex(32),
        ca=ca,
        serving=serving,
        bundle="".join([ca.certificate, *older[:3]]),
        htpasswd=htpasswd.render(passwords, kept(served, KEY_HTPASSWD)),
        notify=kept(private, KEY_NOTIFY) or (secrets.token_hex(32) if notifies else ""),
    )


def decode(secret: Mapping[str, Any] | None) -> dict[str, str]:
    """The data of a Secret as text; values that are not are left out, and so made anew."""
    found: dict[str, str] = {}
    for key, value in ((secret or {}).get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            continue
    return found


def encode(data: Mapping[str, str]) -> dict[str, str]:
    """Text as the data of a Secret."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def notify_key(registry: str) -> str:
    """The key of `strata-registry` that holds what a Registry proves with that it is the one who tells."""
    return f"{registry}.{KEY_NOTIFY}"


def manager(registry: str) -> str:
    """The field manager of one Registry in the Secrets that it shares with others."""
    return f"{names.OPERATOR}/{registry}"
