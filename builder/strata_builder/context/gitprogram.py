"""Running the git program against a hostile remote: nothing of the machine's settings, no hook, no prompt, no shell.

A `Session` is one private folder with git's configuration and what `gitlogin` puts there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from strata_builder import contract, errors
from strata_builder.context import gitfaults, gitlogin, gitversion
from strata_builder.context.credentials import Credentials
from strata_builder.context.gitref import GitUrl
from strata_builder.frozen import field, frozen

_STDERR_LIMIT: Final = 1 << 20
_STDOUT_LIMIT: Final = 256 << 20
_POLL: Final = 0.2  # seconds between two looks at how much has arrived
_KEPT_ENVIRONMENT: Final = tuple(
    name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY") for name in (upper, upper.lower())
)
#: Values that hold whatever the user's own settings are.
_HARDENED: Final = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "core.symlinks": "true",
    "core.fileMode": "true",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.unpackLimit": "1",
    "transfer.unpackLimit": "1",
    "submodule.recurse": "false",
    "advice.detachedHead": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}


@frozen
class Settings:
    """How to run git. `host_settings` lets it use what the user at this host has: agent, helpers, ssh_config.

    `ca` are authorities trusted beside the system's. `pinned` is the address to connect to whatever the name says,
    for callers that have looked at it; redirects are refused then. `agent` is the socket of an ssh agent, with
    `host_settings`.
    """

    git: str = ""
    ssh: str = ""
    host_settings: bool = False
    ca: bytes = b""
    pinned: str = ""
    scratch: Path | None = None
    agent: Path | None = None

    def program(self, name: str) -> str:
        """The path of git or ssh: as set, else the builder image's own, else the machine's."""
        own = Path(contract.HOME, "bin", name)
        found = getattr(self, name) or (str(own) if own.exists() else shutil.which(name))
        if not found:
            raise errors.InfrastructureFailed(
                f"the program {name} is not installed", hint=f"install {name} and try again"
            )
        return str(found)


DEFAULTS: Final = Settings()


class GitFailed(Exception):
    """git ended with a code that is not 0; `stderr` is what it wrote, with whatever secrets are in it."""

    def __init__(self, code: int, stderr: str) -> None:
        super().__init__(f"git ended with code {code}")
        self.code = code
        self.stderr = stderr


@frozen
class Session:
    """`environment` is all that git gets; `deadline` is of time.monotonic()."""

    program: str
    url: GitUrl
    credentials: Credentials
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    deadline: float

    def run(
        self, *arguments: str, cwd: Path | None = None, stdin: bytes = b"", watch: Callable[[], None] | None = None
    ) -> bytes:
        """What git writes. `watch` is called while it runs, and ends it by raising. Raises GitFailed too."""
        with tempfile.TemporaryFile(dir=self.folder) as given, self._capture() as (out, err):
            given.write(stdin)
            given.seek(0)
            process = subprocess.Popen(
                [self.program, *arguments], cwd=cwd or self.folder, env=dict(self.environment), start_new_session=True,
                stdin=given, stdout=out, stderr=err, umask=0o022,
            )  # fmt: skip
            try:
                code = self._wait(process, out, err, watch)
            finally:
                _end(process)
            if code:
                raise GitFailed(code, _tail(err))
            os.lseek(out, 0, os.SEEK_SET)
            with os.fdopen(os.dup(out), "rb") as file:
                return file.read()

    def can_be_partial(self) -> bool:
        """Whether this git can be kept from asking for what a repository lacks."""
        return gitversion.can_refrain(self.run("version").decode())

    def explain(self, failure: GitFailed) -> errors.BuildError:
        return gitfaults.explain(failure.stderr, str(self.url), self.credentials.redact)

    @contextlib.contextmanager
    def _capture(self) -> Iterator[tuple[int, int]]:
        with tempfile.TemporaryFile(dir=self.folder) as out, tempfile.TemporaryFile(dir=self.folder) as err:
            yield out.fileno(), err.fileno()

    def _wait(self, process: subprocess.Popen[bytes], out: int, err: int, watch: Callable[[], None] | None) -> int:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(_POLL)
            if watch is not None:
                watch()
            if time.monotonic() > self.deadline:
                raise errors.SourceUnavailable(f"{self.url} did not answer in time")
            if os.fstat(out).st_size > _STDOUT_LIMIT or os.fstat(err).st_size > _STDERR_LIMIT:
                raise errors.SourceUnavailable(f"{self.url} answers without end")


@contextlib.contextmanager
def session(
    url: GitUrl, credentials: Credentials, settings: Settings = DEFAULTS, *, timeout: float = 3600
) -> Iterator[Session]:
    """A place to run git from, gone with its secrets afterwards. Raises SourceAuthFailed if ssh lacks what it needs."""
    credentials = _merged(url, credentials)
    with tempfile.TemporaryDirectory(prefix="git-", dir=settings.scratch) as name:  # mode 0700
        folder = Path(name)
        environment = _base_environment(settings) | _overrides(_HARDENED | _remote_settings(url, settings))
        environment["GIT_ALLOW_PROTOCOL"] = "http:https" if url.scheme == "http" else url.scheme
        if url.scheme == "ssh":
            environment |= _ssh(folder, url, credentials, settings)
        elif url.scheme in ("http", "https"):
            environment |= gitlogin.http(folder, url, credentials, settings.ca)
        config = folder / "gitconfig"
        if not config.exists():
            gitlogin.write(config, b"")
        if not settings.host_settings:
            environment |= {"GIT_CONFIG_GLOBAL": str(config), "HOME": name, "XDG_CONFIG_HOME": name}
        yield Session(settings.program("git"), url, credentials, environment, folder, time.monotonic() + timeout)


def _merged(url: GitUrl, given: Credentials) -> Credentials:
    """A user and password in the URL serve where the Secret has none."""
    if url.scheme == "ssh" or given.bearer_token or given.password or not (url.user or url.password):
        return given
    return Credentials(given.username or url.user, url.password, ca=given.ca)


def _base_environment(settings: Settings) -> dict[str, str]:
    program = Path(settings.program("git"))
    kept = os.environ if settings.host_settings else {k: os.environ[k] for k in _KEPT_ENVIRONMENT if k in os.environ}
    environment = {key: value for key, value in kept.items() if not key.startswith("GIT_") or key == "GIT_SSH_COMMAND"}
    helpers = program.parent.parent / "libexec" / "git-core"
    if helpers.is_dir():
        environment["GIT_EXEC_PATH"] = str(helpers)
    return environment | {
        "PATH": os.pathsep.join([str(program.parent), os.environ.get("PATH", "/usr/bin:/bin")]),
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "" if settings.host_settings else "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_LAZY_FETCH": "1",
    }


def _overrides(values: Mapping[str, str]) -> dict[str, str]:
    """git-config(1), GIT_CONFIG_COUNT: stronger than any file, and not on the command line."""
    pairs: dict[str, str] = {}
    for number, (key, value) in enumerate(values.items()):
        pairs |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return pairs | {"GIT_CONFIG_COUNT": str(len(values))}


def _remote_settings(url: GitUrl, settings: Settings) -> dict[str, str]:
    found = {} if settings.host_settings else {"safe.directory": "*", "credential.helper": ""}
    if settings.pinned and url.scheme in ("http", "https"):
        port = url.port or (443 if url.scheme == "https" else 80)
        found["http.followRedirects"] = "false"
        if ":" not in url.host:  # an IPv6 address is not looked up, and curl refuses to pin one
            found["http.curloptResolve"] = f"{url.host}:{port}:{settings.pinned}"
    return found


def _ssh(folder: Path, url: GitUrl, credentials: Credentials, settings: Settings) -> dict[str, str]:
    if settings.host_settings and not credentials.identity:
        agent = {"SSH_AUTH_SOCK": str(settings.agent)} if settings.agent else {}
        return agent if "GIT_SSH_COMMAND" in os.environ else {**agent, "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
    return gitlogin.ssh(folder, url, credentials, program=settings.program("ssh"), pinned=settings.pinned)


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, 1 << 16, max(0, size - (1 << 16))).decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and whatever it started; git's helpers would otherwise live on."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
