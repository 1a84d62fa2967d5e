"""How far a stage has come: an immutable value that each step turns into the next. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from strata_builder.engine import history, steps
from strata_builder.oci.image import History, Image, LayerRef


@dataclass(frozen=True, slots=True)
class State:
    """`image` holds layers and history so far; its config is the base's until the stage is finished."""

    image: Image

    @property
    def layers(self) -> tuple[LayerRef, ...]:
        return self.image.layers

    def after(self, step: steps.Step, layer: LayerRef | None, created: str) -> State:
        entry = History(created=created, created_by=step.created_by, comment=history.COMMENT)
        return replace(self, image=self.image.append(layer, entry))

    def finished(self, stage: steps.Stage, created: str) -> Image:
        """The stage's image: its config with the layers and the history that the steps made."""
        done = self.image.config
        config = stage.config.with_(history=done.history, diff_ids=done.diff_ids, created=created)
        return self.image.with_config(config)
