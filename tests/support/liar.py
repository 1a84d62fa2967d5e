"""A server on a real socket that answers each request with bytes that the test makes up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

_MAX_HEAD: Final = 64 << 10
_MAX_BODY: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its first line, its whole head, and its body as far as it came."""

    method: str
    path: str
    head: bytes
    body: bytes


#: Bytes of an answer, and whether the connection stays open after them.
Answer = tuple[bytes, bool]


class Liar:
    """`answer` is called in the order of requests; `asked` holds what came since `begin`."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answer: Callable[[Asked], Answer] = lambda _: (b"", False)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def begin(self, answer: Callable[[Asked], Answer]) -> None:
        with self._lock:
            self.asked, self._answer = [], answer

    def _listen(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(5)
        try:
            with sock, sock.makefile("rb") as file:
                while (asked := _request(file)) is not None:
                    with self._lock:
                        self.asked.append(asked)
                        data, stays = self._answer(asked)
                    sock.sendall(data)
                    if not stays:
                        return
        except OSError:
            return  # a client that hangs up in the middle is right to do so

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _request(file: object) -> Asked | None:
    """The next one; None at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = file.readline(_MAX_HEAD)  # type: ignore[attr-defined]
        if not line or len(head) > _MAX_HEAD:
            return None
        head += line
    method, path, _ = head.decode("latin-1").split(" ", 2)
    body = file.read(min(_length(head), _MAX_BODY))  # type: ignore[attr-defined]
    return Asked(method, path, head, body)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0
