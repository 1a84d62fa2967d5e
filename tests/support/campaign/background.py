"""Threads of a campaign: what one fails with is kept for who waits for it."""

from __future__ import annotations

import threading


class Background(threading.Thread):
    """Does `work` until that ends, or until `over` is set."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.over = threading.Event()
        self.failed: BaseException | None = None

    def work(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        try:
            self.work()
        except BaseException as e:  # noqa: BLE001  the border of the thread: who waits for it raises this
            self.failed = e

    def stop(self) -> None:
        self.over.set()
        if self.ident is not None:
            self.join(120)
