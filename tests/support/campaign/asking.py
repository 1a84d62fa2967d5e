"""Who asks for builds: what it is to have come to, and what came of it."""

from __future__ import annotations

import collections
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from support.campaign import api, background, watching, wishes

PATIENCE = 900.0  # seconds for what was asked for to come about, whatever is broken meanwhile


@dataclass(frozen=True, slots=True)
class Had:
    """What an ImageBuild had when it had what it was to have."""

    wish: wishes.Wish
    uid: str
    number: int
    digest: str


class Asker(background.Background):
    """`final` is what each ImageBuild that still is there is to have come to."""

    def __init__(self, name: str, chance: random.Random, server: api.Api, seen: watching.Recorder, git: str) -> None:
        super().__init__(name)
        self.final: dict[str, wishes.Wish] = {}
        self.wanted: list[wishes.Wish] = []  # in the order in which it was asked for
        self.had: list[Had] = []
        self.contents: set[wishes.Contents] = set()  # all that were ever asked for
        self.asks = collections.Counter[tuple[str, wishes.Contents]]()  # waited for or not
        self.lost: list[tuple[str, str]] = []  # name, what did not come about
        self._chance = chance
        self._server = server
        self._seen = seen
        self._git = git

    def _want(self, wish: wishes.Wish) -> None:
        """From now on it is this that is to come about."""
        self.final[wish.name] = wish
        self.wanted.append(wish)
        self.contents.add(wish.contents)
        self.asks[wish.name, wish.contents] += 1

    def _apply(self, wish: wishes.Wish) -> None:
        self._server.apply("imagebuilds", wish.body(self._git))

    def _came(
        self,
        wish: wishes.Wish,
        is_of: Callable[[api.Body], bool],
        not_yet: Callable[[float], None] = lambda _looked: None,
    ) -> bool:
        """Wait until `wish` has come about; False if it was lost. `is_of` says whether a status is of what was asked for
        last, `not_yet` is told of each look that it had not by then."""
        deadline = time.monotonic() + PATIENCE
        while True:
            looked = self._seen.looked  # before what was seen: that may be newer, and never older
            body = self._seen.bodies.get(wish.name)
            if body and wishes.settled(body, wish) and is_of(body):
                break
            not_yet(looked)
            assert self._seen.failed is None, f"nobody looks any more: {self._seen.failed!r}"
            if time.monotonic() > deadline:
                self.lost.append((wish.name, f"{wish} has not come about: {body and body.get('status')}"))
                return False
            time.sleep(0.2)
        status = body["status"]
        self.had.append(Had(wish, body["metadata"]["uid"], status["current"]["number"], status["digest"]))
        return True
