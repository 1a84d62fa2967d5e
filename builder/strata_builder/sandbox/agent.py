"""An ssh agent shown to a step: a socket of its own that passes on what reads and signs, and nothing else.

The step never reaches the agent's own socket: it could otherwise add, remove or lock keys, and OpenSSH's agent admits
no other user than its owner. Messages: draft-ietf-sshm-ssh-agent, "Protocol messages".
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from strata_builder import errors

_FAILURE: Final = struct.pack("!IB", 1, 5)
_REQUEST_IDENTITIES, _SIGN_REQUEST = 11, 13
_ALLOWED: Final = frozenset((_REQUEST_IDENTITIES, _SIGN_REQUEST))
_MAX_MESSAGE: Final = 256 << 10  # as OpenSSH's agent has it
_MAX_CONNECTIONS: Final = 64  # at once
_BACKLOG: Final = 16


@contextmanager
def forwarded(agent: Path, place: Path, *, mode: int, uid: int, gid: int) -> Iterator[Path]:
    """A socket at `place`, which must be free, behind which the agent at `agent` answers while the context is open.

    Raises InvalidSpec if nobody listens at `agent`, OSError if `place` cannot be made.
    """
    check(agent)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with _short(place) as name:
            listener.bind(name)
        try:
            os.chown(place, uid, gid)
            place.chmod(mode)
            listener.listen(_BACKLOG)
            server = threading.Thread(target=_serve, args=(listener, agent), name="ssh-agent", daemon=True)
            server.start()
            try:
                yield place
            finally:
                listener.shutdown(socket.SHUT_RDWR)  # ends accept(2)
                server.join()
        finally:
            place.unlink(missing_ok=True)


def check(agent: Path) -> None:
    """Raises InvalidSpec unless somebody listens at `agent`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            _connect(probe, agent)
        except OSError as error:
            raise errors.InvalidSpec(
                f"no ssh agent answers at {agent}: {error.strerror or error}",
                hint="start one (eval $(ssh-agent); ssh-add), or name a key: --ssh default=$HOME/.ssh/id_ed25519",
            ) from error


def _serve(listener: socket.socket, agent: Path) -> None:
    places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        if places.acquire(blocking=False):
            threading.Thread(target=_talk, args=(client, agent, places), daemon=True).start()
        else:
            client.close()


def _talk(client: socket.socket, agent: Path, places: threading.BoundedSemaphore) -> None:
    """One connection, until either side ends it or says what no agent would."""
    try:
        with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as behind, suppress(OSError):
            _connect(behind, agent)
            while message := _message(client):
                client.sendall(_answer(behind, message))
    finally:
        places.release()


def _answer(behind: socket.socket, message: bytes) -> bytes:
    if message[4] not in _ALLOWED:
        return _FAILURE
    behind.sendall(message)
    return _message(behind) or _FAILURE


def _message(sock: socket.socket) -> bytes:
    """The next message with its length before it; empty at the end, and for one that is empty or too long."""
    head = _exactly(sock, 4)
    size = struct.unpack("!I", head)[0] if len(head) == 4 else 0
    if not 0 < size <= _MAX_MESSAGE:
        return b""
    body = _exactly(sock, size)
    return head + body if len(body) == size else b""


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return bytes(data)


def _connect(sock: socket.socket, to: Path) -> None:
    with _short(to) as name:
        sock.connect(name)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name of `path` that fits into an address, which takes 107 bytes (unix(7))."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
