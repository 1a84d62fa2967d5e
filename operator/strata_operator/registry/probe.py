"""Asking a registry whether it is what its Registry promises: refuses strangers, knows us, and proves who it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from strata_builder import errors as build_errors
from strata_builder.registry import client, config, connect, errors, patience, retry

_TIMEOUTS: Final = connect.Timeouts(connect=5.0, read=10.0)
_LONGEST: Final = 60.0  # seconds of a probe: a host that is slow on purpose must not keep the threads that all share
_ONCE: Final = retry.Policy(attempts=1)  # the queue tries again


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask. `ca_bundle` is PEM, trusted beside the system's; `credential` None = as anybody; `connect_filter`
    is given for a host that a user named."""

    host: str
    insecure: bool = False
    ca_bundle: str = ""
    credential: config.Credential | None = None
    connect_filter: connect.ConnectFilter | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found. `reason` is empty if all is well; `anonymous` = it also answers strangers."""

    reason: str = ""
    message: str = ""
    anonymous: bool = False


async def probe(target: Target) -> Outcome:
    """Ask twice, first as a stranger. Never raises for what a registry does."""
    return await asyncio.to_thread(_probe, target)


def _probe(target: Target) -> Outcome:
    try:
        with patience.within(_LONGEST):
            stranger = _authorised(target, None)
            known = _authorised(target, target.credential) if target.credential else stranger
    except errors.TlsFailed as e:
        return Outcome("TLSNotTrusted", _words(e))
    except errors.AddressRefused as e:
        return Outcome("AddressNotAllowed", _words(e))
    except errors.Unauthorized as e:
        return Outcome("CredentialsRejected", _words(e), anonymous=False)
    except build_errors.BuildError as e:
        return Outcome("Unreachable", _words(e))
    if not known:
        who = f"user {target.credential.username}" if target.credential else "anonymous access"
        return Outcome("CredentialsRejected", f"{target.host} refuses {who}", anonymous=stranger)
    return Outcome(anonymous=stranger)


def _authorised(target: Target, credential: config.Credential | None) -> bool:
    registry = client.Registry(
        target.host,
        credentials=credential,
        ca=target.ca_bundle.encode() or None,
        insecure=target.insecure,
        connect_filter=target.connect_filter,
        timeouts=_TIMEOUTS,
        policy=_ONCE,
    )
    try:
        return registry.ping().authorised
    finally:
        registry.close()


def _words(error: build_errors.BuildError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
