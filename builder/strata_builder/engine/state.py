"""How far a stage has come: an immutable value that each step turns into the next. Pure."""

from __future__ import annotations

from strata_builder.engine import history, steps, times
from strata_builder.frozen import frozen
from strata_builder.oci.image import History, Image, LayerRef


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
        """The stage's end: its config with the layers and the history that the steps made."""
        done = self.image.config
        config = stage.config.with_(history=done.data().get("history") or (), diff_ids=done.diff_ids, created=created)
        return State(self.image.with_config(config), self.makers)
