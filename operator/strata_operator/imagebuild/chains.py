"""ImageBuilds whose images are the bases of others: who waits for whom, and who would go round in a circle. Pure.

An edge leads from an ImageBuild to one whose image it names in a FROM, by what the statuses say: the base images of the
last success and those that a failure has told of, and the repositories and tags that were written. Only those that base
images may start (spec.triggers) are followed, for no other goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from strata_builder.oci import errors as oci_errors
from strata_builder.oci.reference import Reference
from strata_operator import kube, names
from strata_operator.imagebuild import state

#: Host, repository and tag of an image: what a FROM names and what an ImageBuild writes.
Image = tuple[str, str, str]
#: How long a way up is followed: so long a chain is nobody's, save that of who wants the search to be slow.
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Node:
    """One ImageBuild. `follows` says whether its base images start builds; `busy` that a build of it waits or runs."""

    images: frozenset[Image] = frozenset()
    bases: frozenset[Image] = frozenset()
    follows: bool = False
    busy: bool = False
    digest: str = ""
    priority: int = 0


def image(name: str) -> Image | None:
    """What a base image's name stands for; None for one by digest, and for what is no reference."""
    try:
        found = Reference.parse(name)
    except oci_errors.ReferenceInvalid:
        return None
    return None if found.digest else (found.host, found.repository, found.version)


def node(body: kube.Object, hosts: Iterable[str]) -> Node:
    """What the body of an ImageBuild says; `hosts` are those of its Registry."""
    status, spec = body.get("status") or {}, body.get("spec") or {}
    repository = str(status.get("repository") or "")
    current = status.get("current") or {}
    told = current.get("usedBaseImages") if current.get("phase") in state.NOT_DONE else ()
    named = (image(str(base.get("name", ""))) for base in (*(status.get("baseImages") or ()), *(told or ())))
    return Node(
        images=frozenset((host, repository, tag) for host in hosts if host for tag in status.get("tags") or ()),
        bases=frozenset(base for base in named if base),
        follows=bool((spec.get("triggers") or {}).get("baseImages")),
        busy=current.get("phase") in state.OPEN and not spec.get("suspend"),
        digest=str(status.get("digest") or ""),
        priority=int(spec.get("priority") or 0),
    )


class Chains:
    """The graph of all ImageBuilds, kept by `note` and `drop`. A cache: it is made anew from the statuses."""

    def __init__(self) -> None:
        self._nodes: dict[names.Key, Node] = {}
        self._makers: dict[Image, set[names.Key]] = {}
        self._users: dict[Image, set[names.Key]] = {}

    def note(self, key: names.Key, new: Node) -> Node:
        """Take in what is now known of `key`; returns what was known before."""
        old = self._nodes.get(key, Node())
        if old != new:
            self.drop(key)
            self._nodes[key] = new
            _add(self._makers, new.images, key)
            _add(self._users, new.bases, key)
        return old

    def drop(self, key: names.Key) -> None:
        """`key` is gone."""
        old = self._nodes.pop(key, Node())
        _remove(self._makers, old.images, key)
        _remove(self._users, old.bases, key)

    def priority(self, key: names.Key) -> int:
        """spec.priority of `key`."""
        return self._nodes.get(key, Node()).priority

    def users(self, images: Iterable[Image]) -> set[names.Key]:
        """Who is based on one of these images and is started by them."""
        return {key for one in images for key in self._users.get(one, ()) if self._nodes[key].follows}

    def waiting(self, images: Iterable[Image]) -> set[names.Key]:
        """Those of the users that have a build, which may wait for one of these images."""
        return {key for key in self.users(images) if self._nodes[key].busy}

    def makers(self, name: str) -> list[names.Key]:
        """Who makes the base image `name`."""
        found = image(name)
        return self._sorted(found) if found else []

    def cycle(self, key: names.Key, name: str) -> tuple[names.Key, ...]:
        """How the base `name` of `key` comes back to `key` itself: (key, maker, ..., key); empty if it does not."""
        for path in self._ways(self.makers(name)):
            if path[-1] == key:
                return (key, *path)
        return ()

    def busy(self, key: names.Key, base_names: Iterable[str], wanted: Callable[[names.Key], bool]) -> names.Key | None:
        """Some ImageBuild on which `key` is based, at however many removes, and that has a build waiting or running, or of
        which `wanted` says that it is about to have one. A base that is made from `key` itself is not waited for: it would
        wait for `key`, too."""
        starts = [maker for name in base_names if not self.cycle(key, name) for maker in self.makers(name)]
        for path in self._ways(starts):
            last = path[-1]
            if last != key and (self._nodes[last].busy or wanted(last)):
                return last
        return None

    def _ways(self, starts: Iterable[names.Key]) -> Iterator[tuple[names.Key, ...]]:
        """Each ImageBuild that can be reached upwards from `starts`, once, with a way to it."""
        seen: set[names.Key] = set()
        ways: list[tuple[names.Key, ...]] = [(start,) for start in starts]
        while ways:
            way = ways.pop(0)
            if way[-1] in seen:
                continue
            seen.add(way[-1])
            yield way
            at = self._nodes.get(way[-1], Node())
            if len(way) >= _LONGEST:
                continue
            ways += [(*way, maker) for base in sorted(at.bases if at.follows else ()) for maker in self._sorted(base)]

    def _sorted(self, base: Image) -> list[names.Key]:
        return sorted(self._makers.get(base, ()))


def shown(cycle: Iterable[names.Key]) -> str:
    """A cycle for people."""
    return " → ".join(map(str, cycle))


def _add(index: dict[Image, set[names.Key]], images: Iterable[Image], key: names.Key) -> None:
    for one in images:
        index.setdefault(one, set()).add(key)


def _remove(index: dict[Image, set[names.Key]], images: Iterable[Image], key: names.Key) -> None:
    for one in images:
        keys = index.get(one, set())
        keys.discard(key)
        if not keys:
            index.pop(one, None)
