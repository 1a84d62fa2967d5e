"""Asks for builds: in several slots at once, each with a life of its own from the seed."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from dataclasses import dataclass, field

from support.campaign import api, asking, recovery, watching, wishes

_ASKS = 6  # of one ImageBuild, at most: fewer than wishes.VERSIONS and than its history holds


@dataclass
class Budget:
    """Builds that are still to be asked for."""

    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> bool:
        with self.lock:
            self.left -= 1
            return self.left >= 0


class Slot(asking.Asker):
    """One ImageBuild after the other."""

    def __init__(
        self, number: int, seed: int, budget: Budget, server: api.Api, seen: watching.Recorder, git: str
    ) -> None:
        super().__init__(f"slot-{number}", random.Random(f"{seed}/{number}"), server, seen, git)
        self.askings: list[recovery.Asking] = []
        self.asked = {"created": 0, "edited": 0, "rebuilt": 0, "deleted": 0, "not waited for": 0}
        self._number = number
        self._budget = budget
        self._versions = 0
        self._lives = 0

    def work(self) -> None:
        while self._budget.take():
            self._live()

    def _live(self) -> None:
        """An ImageBuild from its creation to the last that is asked of it."""
        self._lives += 1
        kind = self._chance.choices([*wishes.KINDS], [*wishes.KINDS.values()])[0]
        wish = wishes.Wish(f"b{self._number}-{self._lives}", self._contents(kind))
        self._ask(wish, "created")
        for _ in range(self._chance.randrange(_ASKS)):
            if not self._wait_or_not(wish):
                return
            if not self._budget.take():
                break
            wish = self._change(wish)
        self._settle(wish)

    def _change(self, wish: wishes.Wish) -> wishes.Wish:
        way = self._chance.choices(["edited", "rebuilt", "deleted"], [5, 3, 1])[0]
        if way == "deleted":
            self._remove(wish.name)
            wish = wishes.Wish(wish.name, self._contents(wish.contents.kind))
        elif way == "edited":
            wish = dataclasses.replace(wish, contents=self._contents(wish.contents.kind))
        else:
            wish = dataclasses.replace(wish, token=f"{self._chance.getrandbits(32):08x}")
        self._ask(wish, way)
        return wish

    def _contents(self, kind: str) -> wishes.Contents:
        self._versions += 1
        return wishes.contents(kind, self._number, self._versions)

    def _ask(self, wish: wishes.Wish, way: str) -> None:
        self.asked[way] += 1
        self._want(wish)
        now = time.monotonic()
        if not (self.askings and self.askings[-1].name == wish.name and self.askings[-1].ended is None):
            self.askings.append(recovery.Asking(wish.name, now, now))
        self._apply(wish)

    def _remove(self, name: str) -> None:
        body = self._server.get("imagebuilds", name)
        uid = body["metadata"]["uid"] if body else ""
        self._server.delete("imagebuilds", name)
        deadline = time.monotonic() + asking.PATIENCE
        while (found := self._server.get("imagebuilds", name)) and found["metadata"]["uid"] == uid:
            assert time.monotonic() < deadline, f"{name} does not go: {found}"
            time.sleep(0.3)

    def _wait_or_not(self, wish: wishes.Wish) -> bool:
        """False if it was lost."""
        if self._chance.random() < 0.7:
            return self._settle(wish)
        self.asked["not waited for"] += 1
        time.sleep(self._chance.uniform(0, 4))
        return True

    def _settle(self, wish: wishes.Wish) -> bool:
        """Wait until it has come about. False if it was lost: then the slot goes on with another ImageBuild."""
        one = self.askings[-1]

        def not_yet(looked: float) -> None:
            one.open = max(one.open, looked)

        came = self._came(wish, lambda body: wishes.asks_for(body, wish), not_yet)
        one.ended = time.monotonic() if came else None
        return came
