"""A server that is never late and never done: it sends the beginning of an answer, and then a byte now and then."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Final, Self

PAUSE: Final = 0.02

#: Beginnings of answers, by where they drip.
BEGINNINGS: Final = {
    "status": b"",
    "header": b"HTTP/1.1 200 OK\r\nX: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3d0900\r\n",
    "refusal": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4000000\r\n\r\n",
    "end": b"HTTP/1.1 200 OK\r\n\r\n",
}


class Drips:
    """Answers whatever is asked so, over TLS with a `context`."""

    def __init__(self, beginning: bytes, context: ssl.SSLContext | None = None) -> None:
        self._beginning, self._context = beginning, context
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads = [threading.Thread(target=self._listen)]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _listen(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._drip, args=(sock,)))
            self._threads[-1].start()

    def _drip(self, sock: socket.socket) -> None:
        sock.settimeout(5)
        try:
            with self._context.wrap_socket(sock, server_side=True) if self._context else sock as peer:
                peer.recv(1)
                peer.sendall(self._beginning)
                while not self._over.wait(PAUSE):
                    peer.sendall(b"1")
        except OSError:
            return  # whoever hangs up is right to do so

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
