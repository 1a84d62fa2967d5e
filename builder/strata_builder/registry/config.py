"""Credentials from docker's config.json, podman's auth.json and Kubernetes' .dockerconfigjson.

Order for a host: its credential helper (`credHelpers`), the store (`credsStore`), then `auths`, where the key with the
longest matching path wins. Keys may have a scheme and end in /v1/ or /v2/; a port must match exactly; `*` matches
within one label, as the kubelet allows.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from strata_builder.frozen import field, frozen, replace
from strata_builder.registry import errors

MAX_CONFIG: Final = 4 << 20
_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HUB_KEY: Final = "https://index.docker.io/v1/"
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HELPER_TIMEOUT: Final = 30.0
_MAX_HOST: Final = 253 + len(":65535")  # RFC 1035 §2.3.4

Helper = Callable[[str, str], "Credential | None"]


@frozen
class Credential:
    """User and password, or an identity token (then the user may be empty). Only the user is ever shown."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


@frozen
class _Auth:
    host: str
    path: str
    credential: Credential = field(repr=False)

    def matches(self, host: str, repository: str) -> bool:
        if not (host == self.host or _globbed(self.host, host)):
            return False
        return not self.path or repository == self.path or repository.startswith(self.path + "/")


@frozen
class DockerConfig:
    """One or several files read as one; of equal keys the first wins."""

    auths: tuple[_Auth, ...] = ()
    helpers: tuple[tuple[str, str], ...] = ()
    store: str = ""
    _run: Helper | None = field(default=None, repr=False, compare=False)

    @classmethod
    def load(cls, sources: Iterable[Path | bytes], *, run_helper: Helper | None = None) -> DockerConfig:
        """Raises CredentialsInvalid that names the file: a build must not go on anonymously when a credential was meant
        to be there.

        `run_helper(name, server)` runs a credential helper; without it, helpers are not used (as the kubelet does with
        pull secrets).
        """
        auths: list[_Auth] = []
        helpers: dict[str, str] = {}
        store = ""
        for source in sources:
            where, document = _read(source)
            auths += _auths(document, where)
            helpers = _helpers(document, where) | helpers
            store = store or _text(document, "credsStore", where)
        return cls(
            tuple(sorted(auths, key=lambda a: ("*" in a.host, -len(a.path)))), tuple(helpers.items()), store, run_helper
        )

    def lookup(self, host: str, repository: str = "") -> Credential | None:
        """The credential for `host` (host[:port]) and `repository`, or None. Raises CredentialsInvalid if a helper
        fails."""
        host = _canonical(host.lower())
        if self._run is not None:
            for key, name in self.helpers:
                if _split_key(key)[0] == host:
                    return self._run(name, key)
            if self.store and (found := self._run(self.store, _HUB_KEY if host == "docker.io" else host)):
                return found
        return next((auth.credential for auth in self.auths if auth.matches(host, repository)), None)

    def with_login(self, host: str, repository: str, credential: Credential) -> DockerConfig:
        """As this one, but with `credential` for `repository` of `host`, whatever else matches it."""
        return replace(self, auths=(_Auth(_canonical(host.lower()), repository, credential), *self.auths))


def default_paths(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where docker and podman keep a person's logins, as far as the files exist: docker's first."""
    home = Path(environ.get("HOME") or "/")
    candidates = (
        [Path(environ["DOCKER_CONFIG"]) / "config.json"]
        if environ.get("DOCKER_CONFIG")
        else [home / ".docker/config.json"]
    )
    candidates += [Path(environ["REGISTRY_AUTH_FILE"])] if environ.get("REGISTRY_AUTH_FILE") else []
    candidates += (
        [Path(environ["XDG_RUNTIME_DIR"]) / "containers/auth.json"] if environ.get("XDG_RUNTIME_DIR") else _of_podman()
    )
    candidates.append(home / ".config/containers/auth.json")
    return tuple(path for path in candidates if path.is_file())


def _of_podman() -> list[Path]:
    """Where podman has the logins of who has no folder of a session, as root in a container (containers-auth.json(5))."""
    place = Path(f"/run/containers/{os.getuid()}/auth.json")
    return [place] if os.path.isfile(place) else []  # not Path.is_file: what may not be looked for is not there


def run_helper(name: str, server: str) -> Credential | None:
    """`docker-credential-<name> get`, as docker does it (github.com/docker/docker-credential-helpers). None if it knows
    nothing of `server`."""
    import subprocess

    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise errors.CredentialsInvalid(
            f"credential helper {program} could not be run for {server}: {type(e).__name__}",
            hint=f"install {program}, or remove it from the docker config",
        ) from None
    if done.returncode:
        if b"credentials not found" in done.stdout + done.stderr:
            return None
        said = errors.clean(done.stderr.decode("utf-8", "replace"))
        raise errors.CredentialsInvalid(
            f"credential helper {program} failed for {server}: {said or f'exit code {done.returncode}'}"
        )
    document = _parse(done.stdout, f"the answer of {program}")
    user, secret = _text(document, "Username", program), _text(document, "Secret", program)
    return Credential(identity_token=secret) if user == "<token>" else Credential(user, secret)


def _read(source: Path | bytes) -> tuple[str, dict[str, Any]]:
    if isinstance(source, bytes):
        return "docker config", _parse(source, "docker config")
    try:
        with source.open("rb") as file:
            data = file.read(MAX_CONFIG + 1)
    except OSError as e:
        raise errors.CredentialsInvalid(
            f"cannot read the credentials in {source}: {e.strerror}",
            hint="check that the Secret exists and has the key .dockerconfigjson",
        ) from None
    return str(source), _parse(data, str(source))


def _parse(data: bytes, where: str) -> dict[str, Any]:
    """No part of `data` may reach the message: it is made of secrets."""
    if len(data) > MAX_CONFIG:
        raise errors.CredentialsInvalid(f"{where} is larger than {MAX_CONFIG} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as e:
        at = f" at line {e.lineno}" if isinstance(e, json.JSONDecodeError) else ""
        raise errors.CredentialsInvalid(f"{where} is not valid JSON{at}") from None
    if not isinstance(document, dict):
        raise errors.CredentialsInvalid(f"{where} is not a JSON object")
    return document


def _auths(document: Mapping[str, Any], where: str) -> list[_Auth]:
    entries = {} if document.get("auths") is None else document["auths"]
    if not isinstance(entries, dict):
        raise errors.CredentialsInvalid(f"{where}: auths must be an object")
    found = []
    for key, entry in entries.items():
        credential = _credential(entry, f"{where}: auths[{key!r}]")
        if credential:
            found.append(_Auth(*_split_key(key), credential))
    return found


def _credential(entry: Any, where: str) -> Credential | None:
    if not isinstance(entry, dict):
        raise errors.CredentialsInvalid(f"{where} must be an object")
    user, password = _text(entry, "username", where), _text(entry, "password", where)
    if auth := _text(entry, "auth", where):
        user, password = _decode(auth, where)
    token = _text(entry, "identitytoken", where)
    return Credential(user, password.rstrip("\0"), token) if user or token else None


def _decode(auth: str, where: str) -> tuple[str, str]:
    try:
        text = base64.b64decode("".join(auth.split()), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise errors.CredentialsInvalid(f"{where}.auth is not base64 of user:password in UTF-8") from None
    user, colon, password = text.partition(":")
    if not colon:
        raise errors.CredentialsInvalid(f"{where}.auth has no colon between user and password")
    return user, password


def _helpers(document: Mapping[str, Any], where: str) -> dict[str, str]:
    entries = {} if document.get("credHelpers") is None else document["credHelpers"]
    if not isinstance(entries, dict):
        raise errors.CredentialsInvalid(f"{where}: credHelpers must be an object")
    return {key: _helper_name(entries, key, f"{where}: credHelpers") for key in entries}


def _text(document: Mapping[str, Any], key: str, where: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise errors.CredentialsInvalid(f"{where}: {key} must be a string")
    if not _encodable(value):
        raise errors.CredentialsInvalid(f"{where}: {key} is no valid Unicode")
    return _checked_helper(value, where) if key == "credsStore" and value else value


def _helper_name(document: Mapping[str, Any], key: str, where: str) -> str:
    return _checked_helper(_text(document, key, where), where)


def _checked_helper(name: str, where: str) -> str:
    """The name becomes part of a program's name: nothing in it may lead elsewhere."""
    if not _HELPER_NAME.fullmatch(name):
        raise errors.CredentialsInvalid(f"{where}: {name[:64]!r} is no name of a credential helper")
    return name


def _encodable(text: str) -> bool:
    """JSON can spell halves of surrogate pairs, which no request can carry."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _split_key(key: str) -> tuple[str, str]:
    """host[:port] and the path below it of a key of `auths`."""
    rest = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", key.strip()).strip("/")
    host, _, path = rest.partition("/")
    path = re.sub(r"^v[12](/|$)", "", path)
    return _canonical(host.lower()), path


def _canonical(host: str) -> str:
    return "docker.io" if host in _HUB else host


def _globbed(pattern: str, host: str) -> bool:
    if "*" not in pattern or len(pattern) > _MAX_HOST:
        return False
    wanted, given = pattern.split("."), host.split(".")
    return len(wanted) == len(given) and all(fnmatch.fnmatchcase(g, w) for w, g in zip(wanted, given, strict=True))
