"""Which names an instruction sees: ENV of the image, ARG of the stage, arguments of the build. Pure.

ENV and ARG of one name: the later of the two wins during the build; the image's config holds what ENV said.
"""

from __future__ import annotations

from collections.abc import Mapping

from strata_builder.engine.options import PROXY_ARGS
from strata_builder.frozen import frozen, replace
from strata_builder.oci.platform import Platform


def platform_args(target: Platform, build: Platform, stage: str) -> dict[str, str]:
    """The predefined arguments: visible in FROM, and in a stage once ARG names them."""
    values = {"TARGETSTAGE": stage}
    for prefix, platform in (("TARGET", target), ("BUILD", build)):
        values[f"{prefix}PLATFORM"] = str(platform)
        values[f"{prefix}OS"] = platform.os
        values[f"{prefix}OSVERSION"] = ""
        values[f"{prefix}ARCH"] = platform.architecture
        values[f"{prefix}VARIANT"] = platform.variant
    return values


@frozen
class Scope:
    """`visible` is what `$NAME` gives; `env` what the image's config will hold; `args` what ARG declared, in order."""

    visible: Mapping[str, str]
    env: Mapping[str, str]
    args: Mapping[str, str]

    @classmethod
    def of_image(cls, env: Mapping[str, str]) -> Scope:
        return cls(visible=dict(env), env=dict(env), args={})

    def with_env(self, pairs: tuple[tuple[str, str], ...]) -> Scope:
        added = dict(pairs)
        args = {name: value for name, value in self.args.items() if name not in added}
        return replace(self, visible={**self.visible, **added}, env={**self.env, **added}, args=args)

    def with_args(self, values: Mapping[str, str]) -> Scope:
        return replace(self, visible={**self.visible, **values}, args={**self.args, **values})

    def inherited(self) -> Scope:
        """What a stage that is built on this one starts with: its ARGs too, save those of which the image has an ENV."""
        return self.with_env(tuple(self.env.items()))

    def environment(self) -> dict[str, str]:
        """What a RUN sees, the build's proxies aside."""
        return {**self.env, **self.args}


def proxies(build_args: Mapping[str, str]) -> dict[str, str]:
    """What a RUN sees of them: each under both spellings, since some programs read the one and some the other. Of two
    that differ in case only the later by name counts, and an empty one is none, as for BuildKit."""
    given = {name.upper(): value for name, value in sorted(build_args.items()) if name.upper() in PROXY_ARGS}
    return {name: value for upper, value in given.items() if value for name in (upper, upper.lower())}
