"""What a campaign stands on, and what is built there before any fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from support import api_proxy, e2e, git_server, managed_registries, outside
from support.campaign import api, bases, moving, registrylog, undisturbed, watching, wishes

BEFORE: Final = "before-"  # how ImageBuilds are called that were built before any fault
MOVED: Final = f"{BEFORE}moved"  # the repository of the tag that moves


@dataclass
class Ground:
    """What a campaign stands on."""

    home: e2e.Namespace
    server: api.Api
    operator: outside.Operator
    proxy: api_proxy.Proxy
    log: registrylog.Log
    references: undisturbed.References
    repository: git_server.Repository
    git: str
    registry: dict[str, str]  # how to reach it from within the node

    def place(self, name: str) -> str:
        """By which name an ImageBuild's image is a base of others."""
        return f"{self.registry['host']}/{self.home.name}/{name}:latest"

    def copy(self, version: int) -> None:
        """Have the tag that moves stand for what was built before the faults."""
        source, target = (
            {**self.registry, "repository": f"{self.home.name}/{name}"} for name in (_tagged(version), MOVED)
        )
        managed_registries.copy_image(source, target, "latest")


def built_before(ground: Ground) -> dict[wishes.Contents, str]:
    """Digests of what is built before any fault: git's contents, and what the tag is going to stand for. Nobody looks
    yet: neither pushes nor successes count later."""
    wanted = [wishes.Wish(f"{BEFORE}{n}", wishes.contents("git", 0, n)) for n in range(wishes.BRANCHES)]
    wanted += [wishes.Wish(_tagged(n), bases.tagged(n)) for n in range(bases.VERSIONS)]
    digests = {}
    for wish in wanted:
        digests[wish.contents] = ground.home.build(wish.body(ground.git))["digest"]
        ground.home("delete", "imagebuild", wish.name, "--wait=true")
    ground.operator.end()
    ground.operator.start()
    return digests


def _tagged(version: int) -> str:
    return f"{BEFORE}base-{version}"


def movers(
    ground: Ground, seen: watching.Recorder, digests: Mapping[wishes.Contents, str], seed: int
) -> list[moving.Mover]:
    """Commits first. `digests` are those of what was built before."""
    commits = moving.Commits(seed, ground.server, seen, ground.git, ground.repository)
    chain = bases.Chain(seed, ground.server, seen, ground.place)
    tag = bases.Tag(seed, ground.server, seen, ground.place(MOVED), ground.copy, digests)
    return [commits, chain, tag]
