"""What a Secret holds to read a source with; the keys are those of Flux's GitRepository and HelmRepository."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from strata_builder import errors
from strata_builder.frozen import field, frozen

KEYS: Final = ("username", "password", "bearerToken", "identity", "known_hosts", "ca.crt")
_LIMIT: Final = 1 << 20  # bytes of one key; a Secret holds at most 1 MiB


@frozen
class Credentials:
    """`identity` is a private key for ssh, `known_hosts` the keys of hosts, `ca` certificates in PEM."""

    username: str = ""
    password: str = field(default="", repr=False)
    bearer_token: str = field(default="", repr=False)
    identity: bytes = field(default=b"", repr=False)
    known_hosts: bytes = field(default=b"", repr=False)
    ca: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Raises SourceAuthFailed for a token that no request can carry (RFC 6750, 2.1)."""
        if not self.bearer_token.isascii():
            raise errors.SourceAuthFailed(
                "the bearer token holds a character that is not ASCII, and so is no token",
                hint="an editor may have put a byte order mark or quotes into it: make the Secret from the bare token",
            )

    @classmethod
    def of(cls, data: Mapping[str, bytes]) -> Credentials:
        """From the keys of a Secret. Raises SourceAuthFailed if none is known or one cannot be read."""
        if not any(key in data for key in KEYS):
            raise errors.SourceAuthFailed(
                "the Secret of the source has no key that is known",
                hint=f"its keys are {', '.join(sorted(data)) or '(none)'}; known are {', '.join(KEYS)}",
            )
        return cls(
            _text(data, "username"),
            _text(data, "password"),
            _text(data, "bearerToken"),
            data.get("identity", b"").replace(b"\r\n", b"\n"),
            data.get("known_hosts", b""),
            data.get("ca.crt", b""),
        )

    @classmethod
    def load(cls, folder: Path) -> Credentials | None:
        """From a mounted Secret; None if nothing is mounted there. A mounted one has at least the entry `..data`."""
        names = os.listdir(folder) if folder.is_dir() else []
        if not names:
            return None
        return cls.of({name: _read(folder / name) for name in names if not name.startswith("..")})

    def authorization(self) -> str:
        """The value of an HTTP Authorization header; empty if there is nothing to say."""
        if self.bearer_token:
            return f"Bearer {self.bearer_token}"
        if self.username or self.password:
            return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")
        return ""

    def redact(self, text: str) -> str:
        """`text` with each form of each secret replaced."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _secrets(self) -> Iterator[str]:
        for secret in filter(None, (self.password, self.bearer_token)):
            yield from (secret, quote(secret), quote(secret, safe=""))
        if header := self.authorization():
            yield header.partition(" ")[2]


ANONYMOUS: Final = Credentials()


def _text(data: Mapping[str, bytes], key: str) -> str:
    """One line; a newline at its end, which `echo` leaves, is no part of it."""
    try:
        text = data.get(key, b"").decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as e:
        raise errors.SourceAuthFailed(f"the key {key} of the source's Secret is not UTF-8") from e
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise errors.SourceAuthFailed(f"the key {key} of the source's Secret is more than one line of text")
    return text


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as e:
        raise errors.SourceAuthFailed(f"cannot read the key {path.name} of the source's Secret: {e.strerror}") from e
    if len(data) > _LIMIT:
        raise errors.SourceAuthFailed(f"the key {path.name} of the source's Secret is larger than {_LIMIT} bytes")
    return data
