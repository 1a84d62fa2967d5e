"""Base images that move at random moments, and come back to what they were again and again.

One is an ImageBuild that is edited: whoever is made from its image is looked at as soon as that was built, and by polling
where that was missed. The other is a tag that is written past the operator, which only polling finds out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from support.campaign import api, moving, watching, wishes

VERSIONS: Final = 4
CHAINED: Final = ("chain-middle", "chain-top")  # each made from the one before
TAGGED: Final = ("tag-user",)
_CHAIN, _TAG = 100, 101  # slots
_COPYING: Final = 120.0  # seconds, at most


class Bases(moving.Mover):
    """Has a name stand for one version of a base image after the other. `followers` are made from it, each from the one
    before; `place` says by which name an ImageBuild's image is a base."""

    def __init__(
        self,
        name: str,
        seed: int,
        server: api.Api,
        seen: watching.Recorder,
        followers: Sequence[str],
        place: Callable[[str], str],
    ) -> None:
        super().__init__(name, seed, server, seen, "")
        self._followers = followers
        self._place = place
        self._version = 0
        self._unsettled = {0}  # versions that a build under way may be of
        self._digests: dict[wishes.Contents, str] = {}  # of bases

    def _begin(self) -> bool:
        self._put()
        for wish in list(self.final.values()):
            if wish.follows:
                self._apply(wish)
            if not self._followed(wish):
                return False
        return True

    def _move(self) -> None:
        """To a version that no build is under way for: what is back before the build begins is rightly built again."""
        if len(self._unsettled) == VERSIONS:
            self._settle()
        others = [n for n in range(VERSIONS) if n not in self._unsettled]
        self._version = self._chance.choice(others or range(VERSIONS))
        self._unsettled.add(self._version)
        self._put()

    def _settle(self) -> bool:
        settled = super()._settle()
        self._unsettled = {self._version} if settled else self._unsettled
        return settled

    def _put(self) -> None:
        below = self._put_base()
        for slot, name in enumerate(self._followers):
            made = wishes.Contents(wishes.BASED, slot, 0, below)
            self._want(wishes.Wish(name, made))
            below = wishes.Base(self._place(name), made)

    def _put_base(self) -> wishes.Base:
        """Have the name stand for the present version."""
        raise NotImplementedError

    def _followed(self, wish: wishes.Wish) -> bool:
        came = super()._followed(wish)
        if came:
            self._digests[wish.contents] = self.had[-1].digest
        return came

    def _is_of(self, body: api.Body, wish: wishes.Wish) -> bool:
        if wish.contents.base is None:
            return wishes.asks_for(body, wish)
        used = [base["digest"] for base in body["status"].get("baseImages", ())]
        return used == [self._digests[wish.contents.base.contents]]


class Chain(Bases):
    """The base is an ImageBuild, edited: whoever is made from its image is looked at as soon as that was built."""

    def __init__(self, seed: int, server: api.Api, seen: watching.Recorder, place: Callable[[str], str]) -> None:
        super().__init__("chain", seed, server, seen, CHAINED, place)

    def _put_base(self) -> wishes.Base:
        wish = wishes.Wish("chain-base", wishes.Contents("inline", _CHAIN, self._version))
        self._want(wish)
        self._apply(wish)
        return wishes.Base(self._place(wish.name), wish.contents)


class Tag(Bases):
    """The base is a tag that is moved past the operator: only polling finds out. `digests` are those of tagged(), and
    `copy` has `name` stand for one of these."""

    def __init__(
        self,
        seed: int,
        server: api.Api,
        seen: watching.Recorder,
        name: str,
        copy: Callable[[int], object],
        digests: Mapping[wishes.Contents, str],
    ) -> None:
        super().__init__("tag", seed, server, seen, TAGGED, lambda _name: "")
        self._name = name
        self._copy = copy
        self._digests |= digests

    def _put_base(self) -> wishes.Base:
        """As often as it takes: the registry may just be killed."""
        deadline = time.monotonic() + _COPYING
        while True:
            with contextlib.suppress(AssertionError):
                self._copy(self._version)
                return wishes.Base(self._name, tagged(self._version))
            assert time.monotonic() < deadline, f"{self._name} cannot be moved"
            time.sleep(0.5)


def tagged(version: int) -> wishes.Contents:
    """What a tag that is moved stands for."""
    return wishes.Contents("inline", _TAG, version)
