"""How far a stage has come: an immutable value that each step turns into the next. Pure."""

from __future__ import annotations

from datetime import datetime

from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import history, steps, times
from strata_builder.frozen import frozen
from strata_builder.oci.image import History, Image, ImageConfig, LayerRef


@frozen
class State:
    """`image` holds layers and history so far; its config is the base's until the stage is finished. `makers` says of
    each layer what made it."""

    image: Image
    makers: tuple[times.Maker, ...]

    @classmethod
    def of_image(cls, image: Image) -> State:
        return cls(image, (times.Maker.IMAGE,) * len(image.layers))

    @property
    def layers(self) -> tuple[LayerRef, ...]:
        return self.image.layers

    @property
    def made(self) -> times.Made:
        return tuple(zip(self.layers, self.makers, strict=True))

    def after(self, step: steps.Step, layer: LayerRef | None, created: str) -> State:
        entry = History(created=created, created_by=step.created_by, comment=history.COMMENT)
        makers = self.makers if layer is None else (*self.makers, times.Maker.of(step))
        return State(self.image.append(layer, entry), makers)

    def finished(self, stage: steps.Stage, created: str) -> State:
        """The stage's end: its config with the layers and the history that the steps made.

        It is of the time `created`, or of its base's own where it adds nothing to that but triggers.
        """
        done = self.image.config
        adds = any(not isinstance(step.instruction, ins.OnBuild) for step in stage.steps)
        made = created if adds else _own_time(done, len(stage.steps)) or created
        config = stage.config.with_(history=done.data().get("history") or (), diff_ids=done.diff_ids, created=made)
        return State(self.image.with_config(config), self.makers)


def _own_time(config: ImageConfig, added: int) -> str:
    """When the last step of a base was made, or the base itself; empty where it says nothing that is a time (RFC 3339).

    The last `added` entries of the history are not the base's.
    """
    history_of_base = config.history[: len(config.history) - added]
    said = next((time for time in (*(h.created for h in reversed(history_of_base)), config.created) if time), "")
    try:
        return said if datetime.fromisoformat(said).tzinfo else ""
    except ValueError:
        return ""
