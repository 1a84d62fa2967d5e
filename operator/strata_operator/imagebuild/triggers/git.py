"""The commit that a revision names now: `git ls-remote` from the operator, and only to addresses that it may ask.

The operator stands inside the cluster's network; a URL of a user must not make it speak to what only it can reach.
Whatever it does not ask, the builder pod does, from the user's own namespace.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from strata_builder import contract, errors
from strata_builder.context import credentials, gitprogram, gitref, gitremote
from strata_operator.addresses import Filter
from strata_operator.imagebuild import isolation, questions

TIMEOUT: Final = 30.0  # seconds
_PORTS: Final = {"https": 443, "http": 80, "ssh": 22}


def resolve(
    url: str,
    revision: str,
    login: credentials.Credentials | None,
    *,
    admits: Filter,
    ca: bytes = b"",
    proxied: bool = False,
) -> questions.Resolved | questions.Unseen | contract.Failure:
    """The commit of `revision`. Blocks; called in a thread. Never raises for what a server does.

    `proxied` means that a proxy connects, and looks up names: then the addresses are its business.
    """
    try:
        pinned = "" if proxied else _address(gitref.parse_url(url), admits)
        if pinned is None:
            return questions.Unseen(
                "the operator does not ask this address, which lies inside the node, the cluster or a private network;"
                " the builder pod does. An administrator can allow it with the chart's pollAllowedCidrs"
            )
        settings = gitprogram.Settings(ca=ca, pinned=pinned)
        found = gitremote.resolve(url, revision, login, TIMEOUT, settings)
    except errors.BuildError as e:
        return isolation.failure(e)
    return questions.Resolved(found.commit, found.name)


def _address(url: gitref.GitUrl, admits: Filter) -> str | None:
    """The address to connect to, None if none may be; pinned, so that a second look-up cannot answer otherwise."""
    found = _looked_up(url.host, url.port or _PORTS[url.scheme])
    return next((address for address in found if admits.admits(address)), None)


def _looked_up(host: str, port: int) -> Sequence[str]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as e:
        raise errors.SourceUnavailable(
            f"the host {host} is not known: {e.strerror or e}", hint="check the URL, and the cluster's DNS"
        ) from e
    return [str(answer[4][0]) for answer in answers]
