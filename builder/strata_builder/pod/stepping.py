"""Telling push of each step as it ends, before the next RUN begins.

Where steps run in the builder's own container (InPlace) a RUN could change what earlier steps left. So each step's
layer is told at once, and the next RUN waits until push has taken it down: from then on nothing can change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from strata_builder.engine import keys, records, roots
from strata_builder.oci.image import LayerRef
from strata_builder.pod import alive, exchange, planfile, wire


class Stepping:
    """build's side: `told` gets a file a step, `acks` an empty one of the same name."""

    def __init__(self, keyed: keys.Keyed, told: Path, acks: Path, peers: Sequence[alive.Peer]) -> None:
        self._keyed, self._told, self._acks, self._peers = keyed, told, acks, peers
        self._waiting: set[str] = set()
        told.mkdir(mode=0o755)

    def made(self, stage: int, step: int, record: records.Record) -> None:
        """For `engine.execute.Edges.made`."""
        key = self._keyed.steps[stage, step]
        self._waiting.add(key)
        exchange.publish(self._told / key, planfile.Made.of(key, record).to_bytes())

    def wait(self) -> None:
        """Until push has taken down all that was told. Raises PeerLost."""
        for key in sorted(self._waiting):
            exchange.wait(lambda name=key: exchange.there(self._acks / name), self._peers)  # type: ignore[misc]
            self._waiting.discard(key)


class GuardedRoots:
    """An `engine.roots.Roots` whose RUNs wait for push."""

    def __init__(self, inner: roots.Roots, stepping: Stepping) -> None:
        self._inner, self._stepping = inner, stepping
        self.exclusive = True  # the order of the plan is the order of the steps: keys rely on it

    def open(self) -> Any:
        return _GuardedRoot(self._inner.open(), self._stepping)

    def show(self, layers: Sequence[LayerRef]) -> AbstractContextManager[Path]:
        return self._inner.show(layers)

    def caches(self) -> Path:
        return self._inner.caches()


class _GuardedRoot:
    def __init__(self, inner: roots.Root, stepping: Stepping) -> None:
        self._inner, self._stepping = inner, stepping

    def run(self, *arguments: Any, **named: Any) -> Any:
        self._stepping.wait()
        return self._inner.run(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Heard:
    """push's side: what was told of each step, taken down once; only of steps in `allowed`."""

    def __init__(self, told: Path, acks: Path, allowed: frozenset[str]) -> None:
        self._told, self._acks, self.allowed = told, acks, allowed
        self.made: dict[str, records.Record] = {}
        acks.mkdir(parents=True, exist_ok=True)

    def look(self) -> None:
        """Raises WireError for what build may not say."""
        for name in exchange.names(self._told, self.made.keys()):
            made = planfile.Made.from_bytes(exchange.read(self._told / name, planfile.MAX_MADE), self.allowed)
            if made.key != name:
                raise wire.WireError("a step was told under another name")
            self.made[name] = made.record()
            (self._acks / name).touch()
