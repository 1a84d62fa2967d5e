"""--ssh: the agents whose keys RUN --mount=type=ssh may use, those of keys in files started for the build."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strata_builder.cli import values

if TYPE_CHECKING:
    import subprocess

_START: Final = 10.0  # seconds until an agent must listen


@contextmanager
def opened(given: Sequence[str], environ: Mapping[str, str]) -> Iterator[dict[str, Path]]:
    """The sockets by id. Raises UsageError for what is neither socket nor key, InvalidSpec where no agent answers."""
    with ExitStack() as stack:
        yield {wanted.id: _socket(wanted, environ, stack) for wanted in map(values.ssh, given)}


def _socket(wanted: values.Ssh, environ: Mapping[str, str], stack: ExitStack) -> Path:
    if wanted.paths and not any(Path(path).is_socket() for path in wanted.paths):
        return stack.enter_context(_with_keys(wanted))
    if len(wanted.paths) > 1:
        raise values.UsageError(f"--ssh {wanted.id}: give one socket, or keys, not both")
    path = wanted.paths[0] if wanted.paths else environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise values.UsageError(
            f"--ssh {wanted.id}: no agent is running here: SSH_AUTH_SOCK is not set",
            hint=f"start one (eval $(ssh-agent); ssh-add), or name a key: --ssh {wanted.id}=$HOME/.ssh/id_ed25519",
        )
    from strata_builder.sandbox import agent

    agent.check(Path(path))
    return Path(path)


@contextmanager
def _with_keys(wanted: values.Ssh) -> Iterator[Path]:
    """An agent of our own that holds the keys; their files stay out of every step's reach."""
    import subprocess
    import tempfile

    for path in wanted.paths:
        if not Path(path).is_file():
            raise values.UsageError(f"--ssh {wanted.id}: there is neither a socket nor a key at {path}")
    program, add = _program("ssh-agent"), _program("ssh-add")
    with tempfile.TemporaryDirectory(prefix="strata-ssh-") as folder:  # mode 0700
        socket = Path(folder, "agent")
        process = subprocess.Popen(
            [program, "-D", "-a", str(socket)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            _await(socket, process)
            for path in wanted.paths:
                _add(add, socket, path, wanted.id)
            yield socket
        finally:
            process.terminate()
            process.wait()


def _add(program: str, socket: Path, key: str, name: str) -> None:
    import subprocess

    environment = {"SSH_AUTH_SOCK": str(socket), "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    done = subprocess.run(
        [program, "-q", "--", key],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # without a terminal it cannot ask for a passphrase
    )
    if done.returncode:
        raise values.UsageError(
            f"--ssh {name}: the key {key} cannot be used: {done.stderr.strip() or 'it has a passphrase'}",
            hint=f"a key with a passphrase belongs into your agent: ssh-add {key}, then --ssh {name}",
        )


def _await(socket: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START
    while not socket.is_socket():
        if process.poll() is not None or time.monotonic() > deadline:
            raise values.UsageError("--ssh: ssh-agent does not start", hint="run it by hand: eval $(ssh-agent)")
        time.sleep(0.01)


def _program(name: str) -> str:
    import shutil

    found = shutil.which(name)
    if not found:
        raise values.UsageError(f"--ssh with a key needs {name}", hint="install OpenSSH's client (openssh-client)")
    return found
