"""How much a Dockerfile may ask of the planner. Pure.

Each ENV, ARG, LABEL, EXPOSE or VOLUME makes its whole list anew, and what a step sees stays with it. For the files that
people write this is nothing; without a limit, four megabytes of them take hours and all memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import scope, steps
from strata_builder.oci.image import ImageConfig

MAX: Final = 4_000_000  # items of lists, and stretches of _STRETCH characters
_STRETCH: Final = 16


class Effort:
    """What is left of MAX for one plan."""

    def __init__(self) -> None:
        self.left = MAX

    def take(self, items: int, place: errors.Place) -> None:
        """Raises DockerfileError once more was taken than there is."""
        self.left -= items
        if self.left < 0:
            raise errors.DockerfileError(
                "the variables, labels, ports and texts of all instructions up to here are too many",
                place=place,
                hint="set several in one instruction (ENV a=1 b=2), and make values shorter",
            )

    def of_step(self, step: steps.Step, config: ImageConfig, seen: scope.Scope) -> None:
        """What it took to make `step`, after which the image's config and the scope are these."""
        self.take(_lists(step.instruction, config, seen) + _texts(step), step.place)


def text(values: Iterable[str]) -> int:
    return sum(map(len, values)) // _STRETCH


def _lists(instruction: ins.Instruction, config: ImageConfig, seen: scope.Scope) -> int:
    """The items of what the instruction made anew."""
    match instruction:
        case ins.Env():
            return len(seen.visible)
        case ins.Label():
            return len(config.labels)
        case ins.Expose():
            return len(config.exposed_ports)
        case ins.Volume():
            return len(config.volumes)
        case ins.OnBuild():
            return len(config.onbuild)
        case ins.Copy() | ins.Add():
            return len(instruction.sources)
    return 0


def _texts(step: steps.Step) -> int:
    """What the step keeps; of a RUN its environment, which has room for some four items."""
    bodies = (h.content for h in step.instruction.heredocs) if isinstance(step.instruction, ins.Copy | ins.Add) else ()
    return 4 * len(step.environment) + text((step.created_by, *step.environment.values(), *bodies))
