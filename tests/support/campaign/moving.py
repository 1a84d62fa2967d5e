"""What ImageBuilds follow by themselves is moved at random moments. Here: branches of a repository.

Nobody tells the operator, it has to find out. What was moved on before it was seen need not be built; the last has to be.
"""

from __future__ import annotations

import random
import time
from typing import Final

from support import git_server
from support.campaign import api, asking, watching, wishes

MOST: Final = 60  # moves of one mover
FOLLOWERS: Final = {"commit-a": 0, "commit-b": 0, "commit-c": 1}  # and the branch of each


class Mover(asking.Asker):
    """Moves, and now and then waits until all that follows has followed. Ends when it is over, once that has come about."""

    def __init__(self, name: str, seed: int, server: api.Api, seen: watching.Recorder, git: str) -> None:
        super().__init__(name, random.Random(f"{seed}/{name}"), server, seen, git)
        self.moves = 0
        self.longest = 0.0  # seconds that were waited until all had followed

    def work(self) -> None:
        going = self._begin()
        while going and self.moves < MOST and not self.over.wait(self._pause()):
            self.moves += 1
            self._move()
            going = self._chance.random() < 0.5 or self._settle()
        if going:
            self._settle()

    def _begin(self) -> bool:
        """Create what follows; False if it was lost."""
        raise NotImplementedError

    def _move(self) -> None:
        raise NotImplementedError

    def _is_of(self, body: api.Body, wish: wishes.Wish) -> bool:
        """Whether a status is of the last move."""
        raise NotImplementedError

    def _pause(self) -> float:
        """Shorter than a build, or long enough to be looked at."""
        return self._chance.uniform(0, 4) if self._chance.random() < 0.4 else self._chance.uniform(4, 40)

    def _settle(self) -> bool:
        began = time.monotonic()
        for wish in list(self.final.values()):
            if not self._followed(wish):
                return False
        self.longest = max(self.longest, time.monotonic() - began)
        return True

    def _followed(self, wish: wishes.Wish) -> bool:
        return self._came(wish, lambda body: self._is_of(body, wish))


class Commits(Mover):
    """Commits to branches of the repository that `git` serves."""

    def __init__(
        self, seed: int, server: api.Api, seen: watching.Recorder, git: str, repository: git_server.Repository
    ) -> None:
        super().__init__("commits", seed, server, seen, git)
        self._repository = repository
        self._versions = dict.fromkeys(FOLLOWERS.values(), 0)

    def _begin(self) -> bool:
        for slot in self._versions:
            self._commit(slot)
        for wish in self.final.values():
            self._apply(wish)
        return True

    def _move(self) -> None:
        self._commit(self._chance.choice([*FOLLOWERS.values()]))

    def _commit(self, slot: int) -> None:
        self._versions[slot] += 1
        made = wishes.Contents(wishes.COMMIT, slot, self._versions[slot])
        commit = self._repository.commit({"Dockerfile": made.dockerfile, **made.files}, branch=made.revision)
        for name, its in FOLLOWERS.items():
            if its == slot:
                self._want(wishes.Wish(name, made, commit=commit))

    def _is_of(self, body: api.Body, wish: wishes.Wish) -> bool:
        return bool(body["status"].get("source", {}).get("commit") == wish.commit)
