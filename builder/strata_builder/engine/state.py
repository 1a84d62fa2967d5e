"""How far a stage has come: an immutable value that each step turns into the next. Pure."""

from __future__ import annotations

from datetime import datetime

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

    def finished(self, stage: steps.Stage, created: str, epoch: int | None = None) -> State:
        """The stage's end: its config with the layers and the history that the steps made.

        It is of the time `created`, or of its base's own where it adds nothing to that: the image stays what it is.
        """
        done = self.image.config
        made = created if stage.steps else _own_time(done, epoch) or created
        config = stage.config.with_(history=done.data().get("history") or (), diff_ids=done.diff_ids, created=made)
        return State(self.image.with_config(config), self.makers)


def _own_time(base: ImageConfig, epoch: int | None) -> str:
    """When a base says that it, or the last of its steps, was made; an explicit epoch at the latest.

    Empty where it says nothing that is a time (RFC 3339).
    """
    said = next((time for time in (base.created, *(h.created for h in reversed(base.history))) if time), "")
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        return ""
    if moment.tzinfo is None:
        return ""
    return said if epoch is None or moment.timestamp() <= epoch else history.stamp(epoch)
