"""Threads of a campaign: what one fails with is kept for who waits for it."""

from __future__ import annotations

import threading


class Background:
    """Does `work` until that ends, or until `over` is set. It has a thread and is none, whose own names it could take."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = threading.Event()
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def work(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    @property
    def runs(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self.over.set()
        if self._thread.ident is not None:
            self._thread.join(120)

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as e:  # noqa: BLE001  the border of the thread: who waits for it raises this
            self.failed = e
