"""What the whole Dockerfile gives its stages: the arguments before the first FROM, FROM lines, base images, contexts."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from typing import Protocol, TypedDict, cast

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import contexts, effort, scope, steps, watching
from strata_builder.engine.options import Options
from strata_builder.frozen import field, frozen, replace
from strata_builder.oci.platform import Platform


class Images(Protocol):
    """Where base images come from."""

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        """The image behind `reference` for `platform`. Raises BaseImageNotFound and what the registry raises."""
        ...


class Language(TypedDict):
    """What the parser must know of a file to expand its words and to show where one is."""

    escape: str
    file: str
    source: str


@frozen
class FileScope:
    """One file with the options of one build. `bases` grows with what stages ask for, `effort` with what they cost.

    Raises DockerfileError for a file without a stage, or with a broken ARG before the first FROM.
    """

    dockerfile: df.Dockerfile
    options: Options
    images: Images
    watch: watching.Watch = field(default_factory=watching.Watch)
    bases: dict[tuple[str, Platform], steps.Base] = field(default_factory=dict)
    outer: dict[str, str] = field(default_factory=dict)
    effort: effort.Effort = field(default_factory=effort.Effort)

    def __post_init__(self) -> None:
        if not self.dockerfile.stages:
            raise errors.DockerfileError(
                f"{self.dockerfile.name} has no stage",
                hint="a Dockerfile needs a FROM, for example `FROM debian:bookworm-slim` or `FROM scratch`",
            )
        self.outer.update(self._meta_args())

    def target(self) -> df.Stage:
        """The stage that the options ask for. Raises DockerfileError if there is none of that name."""
        if not self.options.target:
            return self.dockerfile.stages[-1]
        found = df.find_stage(self.dockerfile, self.options.target, before=None)
        if found is None:
            names = ", ".join(s.name for s in self.dockerfile.stages if s.name) or "none has a name"
            raise errors.DockerfileError(
                f"target stage {self.options.target!r} is not in {self.dockerfile.name}", hint=f"stages: {names}"
            )
        return found

    def context(self, name: str) -> contexts.NamedContext | None:
        return contexts.find(self.options.contexts, name)

    def base(self, stage: df.Stage) -> ins.From:
        """The FROM of a stage with its variables expanded; checked for every stage of the file, needed or not."""
        resolved = df.resolve(stage.from_, self.outer, **self.language)
        place = df.place(self.dockerfile, stage.from_.span, stage.from_.platform)
        if stage.from_.platform and not resolved.platform:
            raise errors.DockerfileError(
                f"the platform is empty: {stage.from_.platform!r} expands to nothing",
                place=place,
                hint="give its variable a value, or a default as in ${NAME:-linux/amd64}",
            )
        try:
            if resolved.platform:
                Platform.parse(resolved.platform)
        except errors.BuildError as e:
            raise errors.DockerfileError(e.message, place=place, hint=e.hint) from None
        return resolved

    def base_image(self, reference: str, platform: Platform, place: Callable[[], errors.Place]) -> steps.Base:
        key = (reference, platform)
        if key not in self.bases:
            try:
                self.bases[key] = self.images.resolve(reference, platform)
            except errors.BuildError as e:
                e.place = e.place or place()
                raise
        return self.bases[key]

    def _meta_args(self) -> dict[str, str]:
        """ARGs before the first FROM, with the platform's own: what FROM lines see, and what a stage's ARG may name."""
        target = self.options.target or self.dockerfile.stages[-1].name or "default"
        values = scope.platform_args(self.options.platform, self.options.build_platform, target)
        values.update({name: value for name, value in self.options.build_args.items() if name in values})
        for arg in self.dockerfile.meta_args:
            values |= self.arguments(arg, values, {})[0]
            self.effort.take(len(values), df.place(self.dockerfile, arg.span))
        return values

    def arguments(
        self, arg: ins.Arg, visible: Mapping[str, str], outer: Mapping[str, str]
    ) -> tuple[dict[str, str], frozenset[str]]:
        """The names of an ARG that have a value: the build's argument, else the default, else the outer scope's.

        With them the names that defaults asked for in vain.
        """
        found: dict[str, str] = {}
        missed: set[str] = set()
        before: set[str] = set()
        for name, default in arg.pairs:
            given = self.options.build_args.get(name, outer.get(name) if default is None else None)
            one = replace(arg, pairs=((name, default),))
            seen = watching.Noting(ChainMap(found, cast(MutableMapping[str, str], visible)))
            made = df.resolve_arg(one, seen, {} if given is None else {name: given}, **self.language)
            found |= {name: value for name, value in made.pairs if value is not None}
            missed |= seen.missed - before
            before.add(name)
        return found, frozenset(missed)

    @property
    def language(self) -> Language:
        return {"escape": self.dockerfile.escape, "file": self.dockerfile.name, "source": self.dockerfile.source}
