"""The agent that a step sees: real sockets, and an agent behind them that answers whatever it is asked."""

from __future__ import annotations

import socket
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.sandbox import agent

IDENTITIES, SIGN = 11, 13
FAILURE = b"\5"


@contextmanager
def an_agent(path: Path) -> Iterator[list[bytes]]:
    """Echoes each message with its kind raised by one; gives what it was asked."""
    asked: list[bytes] = []

    def talk(client: socket.socket) -> None:
        with client:
            while message := received(client):
                asked.append(message)
                sent(client, bytes([message[0] + 1]) + message[1:])

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client,), daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def sent(sock: socket.socket, body: bytes) -> None:
    sock.sendall(struct.pack("!I", len(body)) + body)


def received(sock: socket.socket) -> bytes:
    head = sock.recv(4, socket.MSG_WAITALL)
    return sock.recv(struct.unpack("!I", head)[0], socket.MSG_WAITALL) if len(head) == 4 else b""


def connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(str(path))
    return sock


@contextmanager
def forwarding(tmp_path: Path, mode: int = 0o600) -> Iterator[tuple[Path, list[bytes]]]:
    with (
        an_agent(tmp_path / "real") as asked,
        agent.forwarded(tmp_path / "real", tmp_path / "shown", mode=mode, uid=-1, gid=-1) as place,
    ):
        yield place, asked


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (bytes([IDENTITIES]), bytes([IDENTITIES + 1])),
        (bytes([SIGN]) + b"x" * 100_000, bytes([SIGN + 1]) + b"x" * 100_000),
        *((bytes([kind]) + b"key", FAILURE) for kind in (17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 1, 0, 255)),
    ],
    ids=lambda value: f"{value[0]}-{len(value)}",
)
def test_keys_can_be_listed_and_used_but_not_added_removed_or_locked(tmp_path, body, answer):
    with forwarding(tmp_path) as (place, asked):
        with connected(place) as step:
            sent(step, body)
            assert received(step) == answer
            sent(step, bytes([IDENTITIES]))
            assert received(step) == bytes([IDENTITIES + 1]), "the connection goes on"
        assert asked == ([body] if answer != FAILURE else []) + [bytes([IDENTITIES])]


@pytest.mark.parametrize("head", [struct.pack("!I", 0), struct.pack("!I", 1 << 30), b"\0\0"])
def test_what_no_agent_would_say_ends_the_connection_alone(tmp_path, head):
    with forwarding(tmp_path) as (place, asked):
        with connected(place) as step:
            step.sendall(head)
            step.shutdown(socket.SHUT_WR)
            assert step.recv(1) == b""
        with connected(place) as other:
            sent(other, bytes([IDENTITIES]))
            assert received(other) == bytes([IDENTITIES + 1])
        assert asked == [bytes([IDENTITIES])]


def test_the_socket_has_its_mode_and_is_gone_afterwards(tmp_path):
    with forwarding(tmp_path, 0o666) as (place, _):
        assert stat.S_IMODE(place.stat().st_mode) == 0o666
    assert not place.exists()


def test_a_path_that_is_too_long_for_an_address_works(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with (
        an_agent(tmp_path / "real"),
        agent.forwarded(tmp_path / "real", deep / "shown", mode=0o600, uid=-1, gid=-1) as place,
    ):
        assert place.is_socket()


@pytest.mark.parametrize("kind", ["missing", "file", "dead"])
def test_an_agent_that_does_not_answer_is_told_before_the_step_runs(tmp_path, kind):
    path = tmp_path / "real"
    if kind == "file":
        path.touch()
    elif kind == "dead":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    with pytest.raises(errors.InvalidSpec, match="no ssh agent answers") as caught:
        agent.check(path)
    assert "ssh-add" in caught.value.hint
