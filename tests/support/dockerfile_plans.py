"""The config of the image that a Dockerfile describes, by Strata's planner, in the form in which the reference has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context import memory
from strata_builder.engine import planner, steps, watching
from strata_builder.engine.options import Options
from strata_builder.oci import reference
from strata_builder.oci.image import Image, ImageConfig
from strata_builder.oci.platform import Platform

BUILD_PLATFORM = Platform.parse("linux/amd64")


class Images:
    """Base images that have a config and no layers; names as the reference has them, docker.io/library/x:latest."""

    def __init__(self, configs: Mapping[str, str]) -> None:
        self._configs = configs

    def resolve(self, name: str, platform: Platform) -> steps.Base:
        """Raises BaseImageNotFound."""
        named = reference.Reference.parse(name)
        wanted = str(named if named.tag or named.digest else named.with_tag("latest"))
        if wanted not in self._configs:
            raise errors.BaseImageNotFound(f"there is no {wanted} for {platform}")
        config = ImageConfig.from_bytes(self._configs[wanted].encode())
        return steps.Base(name, "sha256:" + "0" * 64, Image(config))


def built(
    source: bytes,
    *,
    images: Mapping[str, str],
    target: str = "",
    args: Mapping[str, str] | None = None,
    platform: str = "linux/amd64",
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """{image: its config without history and layers} or {error, start, end}."""
    options = Options(
        context=memory.MemoryTree({b"f": b"f"}),
        platform=Platform.parse(platform),
        build_platform=BUILD_PLATFORM,
        target=target,
        build_args=args or {},
        labels=labels or {},
    )
    try:
        plan = planner.make(df.parse(source), options, Images(images))
    except errors.BuildError as error:
        place = error.place
        return {"error": error.message, "start": place.line if place else 0, "end": place.end_line if place else 0}
    return {"image": bare(json.loads(plan.stages[plan.target].config.to_bytes()))}


def planned(source: bytes) -> steps.Plan:
    """The plan of a Dockerfile with no base image but scratch."""
    return planner.make(
        df.parse(source), Options(memory.MemoryTree({b"f": b"f"}), BUILD_PLATFORM, BUILD_PLATFORM), Images({})
    )


def error(source: bytes) -> errors.BuildError | None:
    """What is wrong with a Dockerfile whose every stage is to be built, with no base image but scratch."""
    options = Options(memory.MemoryTree({b"f": b"f"}), BUILD_PLATFORM, BUILD_PLATFORM)
    try:
        planner.check(df.parse(source), options, Images({}), watching.Watch())
    except errors.BuildError as found:
        return found
    return None


def bare(image: Mapping[str, Any]) -> dict[str, Any]:
    """What instructions decide: without layers, history and times, and without fields that are empty."""
    kept = {name: value for name, value in image.items() if name in ("os", "architecture", "variant", "author")}
    runtime = {name: value for name, value in (image.get("config") or {}).items() if _says(value)}
    runtime.pop("ArgsEscaped", None)
    return kept | {"config": runtime}


def _says(value: object) -> bool:
    return value not in (None, "", [], {}, False)
