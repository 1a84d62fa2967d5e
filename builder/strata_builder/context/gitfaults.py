"""What the git program said, as an error that says whose it is. Pure.

git has one exit code for everything that goes wrong with a remote, so its words decide; they are read in the C locale.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Final

from strata_builder import errors

_AUTH_HINT: Final = (
    "set source.git.secretRef to a Secret with username and password (or bearerToken; for ssh identity and known_hosts)"
)
_NOT_FOUND_HINT: Final = "check the URL; a private repository may say this to whoever is not logged in"

_REFUSED: Final = (
    r"terminal prompts disabled|could not read (?:Username|Password)|Authentication failed|returned error: 40[13]\b"
    r"|Permission denied \(|Access denied|Load key .*:|DENIED by fallthru"
)
_NO_REVISION: Final = (
    r"not our ref|couldn't find remote ref|unadvertised object|remote did not send|bad object|not a valid object name"
)
_NO_REPOSITORY: Final = (
    r"returned error: 404|not found|does not appear to be a git repository|does not exist|No such file or directory"
    r"|project you were looking for could not be found|cannot find repository"
)
#: The first match decides: the specific before the general.
_TABLE: Final[tuple[tuple[str, Callable[..., errors.BuildError], str, str], ...]] = (
    (r"No space left on device|Disk quota exceeded", errors.StorageLimitExceeded, "there is no space for {url}", ""),
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|No .* host key is known",
        errors.SourceAuthFailed,
        "the host key of {url} is not the one in known_hosts",
        "compare it with the host's owner, then put the output of `ssh-keyscan HOST` into the key known_hosts",
    ),
    (
        r"Problem with the SSL CA cert|certificate verify locations|trust anchors",
        errors.SourceAuthFailed,
        "the authorities given for {url} cannot be read",
        "the key ca.crt of the source's Secret must hold certificates in PEM",
    ),
    (
        r"SSL certificate|server certificate|certificate verif|self.signed certificate|unable to get local issuer",
        partial(errors.SourceAuthFailed, lacks=errors.AUTHORITY),
        "the certificate of {url} is not trusted",
        "put the certificate of its authority into the key ca.crt of the source's Secret",
    ),
    (
        _REFUSED,
        partial(errors.SourceAuthFailed, lacks=errors.LOGIN),
        "{url} refused the credentials, or asks for some",
        _AUTH_HINT,
    ),
    (
        r"unable to update url base from redirection|asked for: .*redirect|returned error: 30\d",
        errors.SourceNotFound,
        "{url} is somewhere else now, and credentials are not sent after a redirect",
        "write the URL to which it redirects",
    ),
    (
        _NO_REVISION,
        errors.ReferenceNotFound,
        "{url} does not have that revision",
        "",
    ),
    (
        _NO_REPOSITORY,
        errors.SourceNotFound,
        "there is no repository at {url}",
        _NOT_FOUND_HINT,
    ),
    (
        r"returned error: 4(?!07|08|21|23|25|29)\d\d\b",
        errors.SourceNotFound,
        "{url} has no repository, or none that git can ask for",
        _NOT_FOUND_HINT,
    ),
    (r"transport '.*' not allowed", errors.InvalidSpec, "{url} leads to a protocol that a build does not use", ""),
)
_SHALLOW: Final = re.compile(r"not our ref|unadvertised object|dumb http transport does not support shallow|shallow")


def explain(stderr: str, url: str, redact: Callable[[str], str] = str) -> errors.BuildError:
    """The error behind what git wrote. What no row knows is taken for an outage, which is retried."""
    said = last_lines(redact(stderr))
    for pattern, kind, message, hint in _TABLE:
        if re.search(pattern, stderr, re.IGNORECASE):
            return kind(f"{message.format(url=url)}: {said}", hint=hint)
    return errors.SourceUnavailable(f"cannot fetch {url}: {said}")


def refuses_shallow(stderr: str) -> bool:
    """Whether the server may give with all its history what it does not give alone."""
    return _SHALLOW.search(stderr) is not None


def last_lines(stderr: str) -> str:
    """What git complained of, on one line of at most 600 characters; a banner of ssh or the server's is left out."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"(?:fatal|error|remote|ssh|Host key|.*Permission denied)", line)]
    text = "; ".join((named or lines)[-4:]) or "git said nothing"
    return "".join(char if char.isprintable() else "?" for char in text)[-600:]
