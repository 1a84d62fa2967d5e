"""What the planner tells while it goes through the instructions, for checks that need to know what each one sees. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from strata_builder import dockerfile as df
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import steps
from strata_builder.frozen import frozen
from strata_builder.oci.image import ImageConfig
from strata_builder.oci.platform import Platform


class Noting(Mapping[str, str]):
    """Variables that note which names were asked for, those in vain apart."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._missed: set[str] = set()
        self._found: set[str] = set()

    @property
    def missed(self) -> frozenset[str]:
        return frozenset(self._missed)

    @property
    def found(self) -> frozenset[str]:
        return frozenset(self._found)

    def __getitem__(self, name: str) -> str:
        (self._found if name in self._variables else self._missed).add(name)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


@frozen
class Seen:
    """One instruction of a stage, or a trigger that its base holds, as written and resolved.

    `before` is the image's config so far, `variables` what the instruction sees, `missed` the names that it asks for and
    that have no value.
    """

    stage: df.Stage
    written: ins.Instruction
    resolved: ins.Instruction
    before: ImageConfig
    missed: frozenset[str]
    variables: Mapping[str, str]


class Watch:
    """One that looks away."""

    def pulls(self, asking: ins.Instruction, base: steps.Base, wanted: Platform) -> None:
        """An instruction names an image, which was looked for by the platform `wanted`."""

    def begins(self, stage: df.Stage, base: steps.Origin) -> None:
        """A stage begins on its base; those that it needs have been told of."""

    def sees(self, seen: Seen) -> None:
        """The next instruction of a stage. Stages that need one another are told of in turns."""
