"""FROM a named context that is a folder: its files are the first layer of a stage that else begins empty. Pure."""

from __future__ import annotations

from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import steps
from strata_builder.oci.image import ImageConfig


def step(origin: steps.FromTree, from_: ins.From, config: ImageConfig, place: errors.Place) -> steps.Step:
    """What brings the folder: a COPY of all of it to the root, told as what it is."""
    everything = ins.Copy(from_.span, from_.text, sources=(".",), dest="/", from_=origin.name)
    return steps.Step(
        instruction=everything,
        created_by=f"FROM {origin.name}",
        config=config,
        workdir="/",
        place=place,
        origin=origin,
    )
