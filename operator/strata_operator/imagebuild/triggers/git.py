"""The git program as the operator may use it on behalf of users: `ls-remote`, and only to addresses that it may ask.

The operator stands inside the cluster's network; a URL of a user must not make it speak to what only it can reach.
Whatever it does not ask, the builder pod does, from the user's own namespace.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping, Sequence
from typing import Final

from strata_builder import errors
from strata_builder.context import credentials, gitprogram, gitref
from strata_operator.addresses import Filter

TIMEOUT: Final = 30.0  # seconds
PORTS: Final = {"https": 443, "http": 80, "ssh": 22}
REFUSED: Final = (
    "the operator does not ask this address, which lies inside the node, the cluster or a private network;"
    " the builder pod does. An administrator can allow it with the chart's pollAllowedCidrs"
)


class Refused(Exception):
    """No address of the host may be asked."""


def listing(
    url: gitref.GitUrl,
    names: Sequence[str],
    login: credentials.Credentials,
    *,
    admits: Filter,
    ca: bytes = b"",
    proxy: str = "",
) -> bytes:
    """What `git ls-remote` writes of the references `names`. Blocks; called in a thread.

    A `proxy` looks up names itself: then the addresses are its business. Raises Refused, errors.BuildError.
    """
    settings = gitprogram.Settings(ca=ca, pinned="" if proxy else _address(url, admits))
    with gitprogram.session(url, login, settings, timeout=TIMEOUT) as session:
        through = dataclasses.replace(session, environment=_through(proxy, session.environment))
        patterns = [pattern for name in names for pattern in (name, f"{name}^{{}}")]
        try:
            return through.run("ls-remote", "--quiet", "--", url.address, *patterns)
        except gitprogram.GitFailed as e:
            raise through.explain(e) from None


def _through(proxy: str, environment: Mapping[str, str]) -> dict[str, str]:
    """With this proxy and none of the operator's own environment: who is pinned to an address connects to it."""
    kept = {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
    return kept | ({"http_proxy": proxy, "https_proxy": proxy} if proxy else {})


def _address(url: gitref.GitUrl, admits: Filter) -> str:
    """The address to connect to; pinned, so that a second look-up cannot answer otherwise."""
    for address in _looked_up(url.host, url.port or PORTS[url.scheme]):
        if admits.admits(address):
            return address
    raise Refused


def _looked_up(host: str, port: int) -> Sequence[str]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        said = getattr(e, "strerror", None) or e
        raise errors.SourceUnavailable(
            f"the host {host} is not known: {said}", hint="check the URL, and the cluster's DNS"
        ) from e
    return [str(answer[4][0]) for answer in answers]
