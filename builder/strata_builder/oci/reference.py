"""Names of images: `[host[:port]/]repository[:tag][@digest]`. Pure.

Grammar: distribution-spec "Pull" and the reference grammar of distribution (github.com/distribution/reference). As in
Docker, a first part without a dot, a colon or the name localhost is no host; `busybox` means
`docker.io/library/busybox`.
"""

from __future__ import annotations

import re
from typing import Final

from strata_builder.frozen import frozen, replace
from strata_builder.oci import digest as digests
from strata_builder.oci import errors

DEFAULT_HOST: Final = "docker.io"
MAX_NAME: Final = 255  # characters of host and repository together
MAX_TAG: Final = 128

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DOCKER_ALIASES = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})


@frozen
class Reference:
    """`host` is host[:port] in lower case; `repository` the path below it; `tag` and `digest` may both be set (the
    digest wins)."""

    host: str
    repository: str
    tag: str | None = None
    digest: digests.Digest | None = None

    @classmethod
    def parse(cls, text: str, *, default_host: str = DEFAULT_HOST) -> Reference:
        """Raises ReferenceInvalid that quotes `text` and says which part is wrong."""
        if not text or text != text.strip():
            raise _invalid(text, "it is empty" if not text.strip() else "it begins or ends with white space")
        if "://" in text:
            raise _invalid(text, "it is a URL", hint=f"leave out {text.partition('://')[0]}://")
        named, at, digest_text = text.partition("@")
        name, tag = _split_tag(named)
        if _HEX.fullmatch(text):
            raise _invalid(
                text, "64 hexadecimal digits are a digest, not a name", hint=f"did you mean NAME@sha256:{text}?"
            )
        host, repository = _split_host(name, default_host)
        _check_host(text, host)
        _check_repository(text, repository)
        if len(host) + 1 + len(repository) > MAX_NAME:
            raise _invalid(
                text, f"host and repository have {len(host) + 1 + len(repository)} characters, more than {MAX_NAME}"
            )
        return cls(host, repository, _checked_tag(text, tag), _checked_digest(text, digest_text) if at else None)

    @property
    def name(self) -> str:
        """As people write it, without tag and digest: `busybox`, `quay.io/a/b`. The default host stays where without it
        the first part of the repository would be read as one (docker.io/a.b/c)."""
        short = self.repository.removeprefix("library/")
        short = short if "/" not in short else self.repository
        means_this = _split_host(short, DEFAULT_HOST) == (self.host, self.repository)
        return short if means_this else f"{self.host}/{self.repository}"

    @property
    def familiar(self) -> str:
        return self.name + self._suffix()

    @property
    def version(self) -> str:
        """What to ask a registry for: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    def with_digest(self, value: digests.Digest) -> Reference:
        return replace(self, digest=digests.parse_digest(value))

    def with_tag(self, tag: str | None) -> Reference:
        """The same repository by `tag` alone: a digest of another tag would be a lie."""
        return replace(self, tag=_checked_tag(str(tag), tag), digest=None)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}{self._suffix()}"


def check_tag(tag: str) -> str:
    """`tag`, or ReferenceInvalid."""
    return _checked_tag(tag, tag) or ""


def check_repository(repository: str) -> str:
    """`repository` (no host), or ReferenceInvalid."""
    _check_repository(repository, repository)
    return repository


def _invalid(text: str, why: str, hint: str = "") -> errors.ReferenceInvalid:
    shown = text if len(text) <= 100 else text[:97] + "..."
    return errors.ReferenceInvalid(f"{shown!r} is not an image reference: {why[:500]}", hint=hint[:500])


def _split_tag(named: str) -> tuple[str, str | None]:
    head, colon, tail = named.rpartition(":")
    return (head, tail) if colon and "/" not in tail and not (tail.endswith("]")) else (named, None)


def _split_host(name: str, default_host: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        # Where only capitals tell that it is a host, it keeps them: else its text would mean another image.
        host, repository = first.lower() if set(first) & set(".:") or first.lower() == "localhost" else first, rest
    else:
        host, repository = default_host.lower(), name
    if host in _DOCKER_ALIASES:
        host = DEFAULT_HOST
    if host == DEFAULT_HOST and repository and "/" not in repository:
        repository = f"library/{repository}"
    return host, repository


def _check_host(text: str, host: str) -> None:
    match = _HOST.fullmatch(host)
    if match is None:
        raise _invalid(text, f"{host!r} is not a host name with an optional port")
    if host.startswith("[") and not _is_ipv6(host[1 : host.index("]")]):
        raise _invalid(text, f"{host!r} is not an IPv6 address in brackets with an optional port")
    if match["port"] and not 0 < int(match["port"]) < 65536:
        raise _invalid(text, f"port {match['port']} is not between 1 and 65535")


def _is_ipv6(address: str) -> bool:
    import ipaddress  # takes a moment, and hardly anybody needs it

    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


def _check_repository(text: str, repository: str) -> None:
    if not repository:
        raise _invalid(text, "the repository is missing")
    if len(repository) > MAX_NAME:
        raise _invalid(text, f"the repository has {len(repository)} characters, more than {MAX_NAME}")
    for part in repository.split("/"):
        if not _COMPONENT.fullmatch(part.lower()):
            raise _invalid(
                text, f"{part!r} is not a path part: a-z and 0-9, separated by one '.', one or two '_', or '-'"
            )
    if repository != repository.lower():
        written = repository if repository in text else repository.removeprefix("library/")
        hint = f"did you mean {text.replace(written, written.lower())!r}?"
        raise _invalid(text, "repository names must be lower case", hint=hint)


def _checked_tag(text: str, tag: str | None) -> str | None:
    if tag is None:
        return None
    if len(tag) > MAX_TAG:
        raise _invalid(text, f"the tag has {len(tag)} characters, more than {MAX_TAG}")
    if not _TAG.fullmatch(tag):
        raise _invalid(text, f"tag {tag!r} must be letters, digits, '_', '.', '-' and not begin with '.' or '-'")
    return tag


def _checked_digest(text: str, value: str) -> digests.Digest:
    try:
        return digests.parse_digest(value)
    except errors.ImageInvalid as e:
        raise _invalid(text, e.message) from None
