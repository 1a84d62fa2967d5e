"""Credentials for what ADD fetches, among a build's secrets and by the names that BuildKit gives them. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import urlsplit

from strata_builder import errors
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.context.gitref import GitUrl

_GIT_USER = "x-access-token"


def is_for_git(name: str) -> bool:
    """Whether `for_git` may ask for the secret `name`."""
    return name.partition(".")[0] in ("GIT_AUTH_HEADER", "GIT_AUTH_TOKEN")


def for_git(secrets: Mapping[str, bytes], url: GitUrl) -> Credentials:
    """Of GIT_AUTH_HEADER.<host[:port]>, GIT_AUTH_TOKEN.<host[:port]>, GIT_AUTH_HEADER and GIT_AUTH_TOKEN the first.

    Raises SourceAuthFailed for a header of another kind than Basic and Bearer.
    """
    if url.scheme not in ("http", "https"):
        return ANONYMOUS
    host = url.origin.partition("://")[2]
    for name in (f"GIT_AUTH_HEADER.{host}", f"GIT_AUTH_TOKEN.{host}", "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"):
        if name in secrets and "HEADER" in name.partition(".")[0]:
            return _of_header(name, secrets)
        if name in secrets:
            return Credentials(_GIT_USER, _line(name, secrets))
    return ANONYMOUS


def for_file(secrets: Mapping[str, bytes], url: str) -> Credentials:
    """HTTP_AUTH_TOKEN_<host>, else HTTP_AUTH_HEADER_<host>. Raises SourceAuthFailed as `for_git`."""
    host = urlsplit(url).hostname or ""
    if (name := f"HTTP_AUTH_TOKEN_{host}") in secrets:
        return Credentials(bearer_token=_line(name, secrets))
    return _of_header(name, secrets) if (name := f"HTTP_AUTH_HEADER_{host}") in secrets else ANONYMOUS


def _of_header(name: str, secrets: Mapping[str, bytes]) -> Credentials:
    kind, _, value = _line(name, secrets).strip().partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return Credentials(bearer_token=value.strip())
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if kind.lower() != "basic" or not colon:
        raise errors.SourceAuthFailed(
            f"the secret {name} is no Authorization header of the kind Basic or Bearer",
            hint="it is to hold `Basic <base64 of user:password>` or `Bearer <token>`",
        )
    return Credentials(user, password)


def _line(name: str, secrets: Mapping[str, bytes]) -> str:
    """One line; a newline at its end, which `echo` leaves, is no part of it."""
    try:
        text = secrets[name].decode().rstrip("\r\n")
    except UnicodeDecodeError as e:
        raise errors.SourceAuthFailed(f"the secret {name} is not UTF-8") from e
    if not text or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise errors.SourceAuthFailed(f"the secret {name} is not one line of text")
    return text
