"""Where everything lies in a builder pod, below one home; tests put the home elsewhere."""

from __future__ import annotations

from pathlib import Path

from strata_builder import contract
from strata_builder.frozen import frozen


@frozen
class Paths:
    """The paths of `contract`, moved from its HOME to `home`."""

    home: Path = Path(contract.HOME)

    def at(self, path: str) -> Path:
        return self.home / Path(path).relative_to(contract.HOME)

    @property
    def inputs(self) -> Path:
        return self.at(contract.INPUTS)

    @property
    def outputs(self) -> Path:
        return self.at(contract.OUTPUTS)

    @property
    def wanted(self) -> Path:
        return self.at(contract.WANTED)

    @property
    def scratch(self) -> Path:
        return self.at(contract.SCRATCH)

    @property
    def secrets(self) -> Path:
        return self.at(contract.SECRETS)

    @property
    def plan(self) -> Path:
        return self.inputs / "plan.json"

    @property
    def records(self) -> Path:
        return self.inputs / "records.json"

    @property
    def context(self) -> Path:
        return self.inputs / "context"

    @property
    def remotes(self) -> Path:
        return self.inputs / "remotes"

    @property
    def brought(self) -> Path:
        """Blobs that fetch has downloaded."""
        return self.inputs / "blobs"

    @property
    def made(self) -> Path:
        """Blobs that build has packed."""
        return self.outputs / "blobs"

    @property
    def need(self) -> Path:
        """Digests that build asks fetch for."""
        return self.outputs / "need"

    @property
    def secrets_taken(self) -> Path:
        return self.outputs / "secrets-taken"

    @property
    def told(self) -> Path:
        """What build says of each step as it ends."""
        return self.outputs / "steps"

    @property
    def acks(self) -> Path:
        """What of it push has taken down."""
        return self.alive(contract.PUSH) / "acks"

    @property
    def result(self) -> Path:
        return self.outputs / "result.json"

    @property
    def build_done(self) -> Path:
        return self.outputs / "done"

    @property
    def push_done(self) -> Path:
        return self.wanted / "done"

    def log(self, role: str) -> Path:
        """The folder of what `role` prints: it alone may write there."""
        return {contract.FETCH: self.inputs, contract.BUILD: self.outputs}.get(role, self.scratch) / "log"

    def writes_log(self, role: str) -> Path:
        """The folder of a lock that is held until the log of `role` is whole."""
        return self.alive(role) / "log"

    def alive(self, role: str) -> Path:
        return self.at(contract.ALIVE) / role
