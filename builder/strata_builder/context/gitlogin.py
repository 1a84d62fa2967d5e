"""How credentials reach git: in files of a private folder and by two tiny programs that git calls.

One answers git's questions for a password, only if the asking host is the one that the password is for (git asks again
after a redirect); the other starts ssh with our settings. No secret is on a command line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.context import trust
from strata_builder.context.credentials import Credentials
from strata_builder.context.gitref import GitUrl

_ASKPASS: Final = """\
#!{python} -I
import json, pathlib, sys
answers = json.loads(pathlib.Path(__file__).with_name("answers").read_text())
kind, _, rest = (sys.argv[1] if len(sys.argv) > 1 else "").partition(" for '")
scheme, _, place = rest.partition("'")[0].partition("://")
if f"{{scheme}}://{{place.rpartition('@')[2]}}" != answers["origin"] or kind not in answers:
    sys.exit(1)
print(answers[kind])
"""
_SSH: Final = """\
#!{python} -I
import os, pathlib, sys
os.execv({ssh!r}, ["ssh", "-F", str(pathlib.Path(__file__).with_name("ssh_config")), *sys.argv[1:]])
"""


def http(folder: Path, url: GitUrl, credentials: Credentials, ca: bytes) -> dict[str, str]:
    """What git needs of the environment for HTTP; the file `gitconfig` in `folder` is part of it. `ca` are authorities
    trusted beside the system's and those of `credentials`."""
    lines: list[str] = []
    environment: dict[str, str] = {}
    if pem := trust.bundle((ca, credentials.ca)):
        write(folder / "ca.crt", pem)
        environment["GIT_SSL_CAINFO"] = str(folder / "ca.crt")
    if credentials.bearer_token:
        # git would repeat the header to wherever it is redirected.
        lines = ["[http]", "\tfollowRedirects = false", f'[http "{url.origin}/"]']
        lines.append(f"\textraHeader = {_quoted('Authorization: ' + credentials.authorization())}")
    elif credentials.username or credentials.password:
        answers = {"origin": url.origin, "Username": credentials.username or "git", "Password": credentials.password}
        write(folder / "answers", json.dumps(answers).encode())
        environment["GIT_ASKPASS"] = _script(folder / "askpass", _ASKPASS.format(python=sys.executable))
    write(folder / "gitconfig", "\n".join([*lines, ""]).encode())
    if lines:
        environment["GIT_CONFIG_GLOBAL"] = str(folder / "gitconfig")
    return environment


def ssh(folder: Path, url: GitUrl, credentials: Credentials, *, program: str, pinned: str) -> dict[str, str]:
    """What git needs of the environment for ssh: `program` with settings that admit the key and the hosts given alone.
    `pinned` is the address to connect to. Raises SourceAuthFailed without a key or without hosts' keys."""
    for key, value in (("identity", credentials.identity), ("known_hosts", credentials.known_hosts)):
        if not value.strip():
            raise errors.SourceAuthFailed(
                f"{url} is read over ssh, and the source's Secret has no {key}",
                hint=f"known_hosts is what `ssh-keyscan {url.host}` prints, identity a private key without passphrase",
            )
    write(folder / "identity", credentials.identity.rstrip(b"\n") + b"\n")
    write(folder / "known_hosts", credentials.known_hosts)
    write(folder / "ssh_config", _ssh_config(folder, url, pinned).encode())
    text = _SSH.format(python=sys.executable, ssh=program)
    return {"GIT_SSH": _script(folder / "ssh", text), "GIT_SSH_VARIANT": "ssh"}


def _ssh_config(folder: Path, url: GitUrl, pinned: str) -> str:
    lines = [
        "BatchMode yes", "StrictHostKeyChecking yes", "IdentitiesOnly yes", "IdentityAgent none", "UpdateHostKeys no",
        f'IdentityFile "{folder / "identity"}"', f'UserKnownHostsFile "{folder / "known_hosts"}"',
        "GlobalKnownHostsFile /dev/null", "PreferredAuthentications publickey", "ForwardAgent no", "LogLevel ERROR",
        "PermitLocalCommand no", "ConnectTimeout 30", "ServerAliveInterval 15", "ServerAliveCountMax 4",
    ]  # fmt: skip
    if pinned:
        alias = f"[{url.host}]:{url.port}" if url.port not in (None, 22) else url.host
        lines += [f"HostKeyAlias {alias}", f"HostName {pinned}"]
    return "\n".join(["Host *", *(f"  {line}" for line in lines), ""])


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """A new file that nobody else may read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(data)


def _script(path: Path, text: str) -> str:
    write(path, text.encode(), 0o700)
    return str(path)
