"""The cache keys of a plan's steps, known before any work is done.

Each step that touches files has a definition key: what its parent is, what it says, what it sees, what its sources hold.
A step that reads another stage names that stage by its key. So one look at the context and at the bases' digests tells
which steps earlier builds have already made. A secret's content is in no key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context.tree import Tree
from strata_builder.dockerfile import instructions as ins
from strata_builder.dockerfile import sources
from strata_builder.engine import buildargs, digests, hashing, metadata, selecting, steps
from strata_builder.engine.options import Options
from strata_builder.entries import Entry, Kind
from strata_builder.frozen import asdict, frozen, replace
from strata_builder.oci.image import LayerRef


class Remotes(Protocol):
    """What ADD brings from elsewhere."""

    def tree(self, url: str, step: steps.Step) -> selecting.Source:
        """The file or repository at `url`, fetched once."""
        ...


@frozen
class Keyed:
    """`stages` and `steps` (by stage and position) of a plan; steps that touch no files have none."""

    stages: Mapping[int, str]
    steps: Mapping[tuple[int, int], str]


def of_plan(plan: steps.Plan, options: Options, remotes: Remotes) -> Keyed:
    """Every key of `plan`. Reads the context's files as far as steps name them."""
    stages: dict[int, str] = {}
    found: dict[tuple[int, int], str] = {}
    for index, stage in plan.stages.items():
        parent = _base_key(stage.base, stages)
        for position, step in enumerate(stage.steps):
            if step.touches_files:
                parent = found[index, position] = _step_key(step, parent, stages, options, remotes)
        stages[index] = parent
    return Keyed(stages, found)


def of_layers(layers: Sequence[LayerRef]) -> str:
    """What a file system is, however it came to be."""
    return digests.key("layers", [layer.diff_id for layer in layers])


def run_on(step: steps.Step, lower: str, origins: Sequence[str], options: Options) -> str:
    """A RUN's content key: what it says on the file systems that it sees, whatever steps made them."""
    return digests.key("run-on", lower, list(origins), _run_parts(step, options), _output_parts(options))


def copy_of(content: str, options: Options) -> str:
    """A COPY's content key: what it places, whatever the parent is beyond what the entries say of it."""
    return digests.key("copy-of", content, _output_parts(options))


def _base_key(base: steps.Origin, stages: Mapping[int, str]) -> str:
    return stages[base.index] if isinstance(base, steps.FromStage) else digests.key("base", _origin_id(base))


def _origin_id(origin: steps.Origin | None) -> str:
    return origin.base.digest if isinstance(origin, steps.FromImage) else ""


def _output_parts(options: Options) -> list[Any]:
    return [options.compression, options.source_date_epoch]


def _step_key(step: steps.Step, parent: str, stages: Mapping[int, str], options: Options, remotes: Remotes) -> str:
    instruction = step.instruction
    common = [parent, _output_parts(options)]
    if isinstance(instruction, ins.Workdir):
        return digests.key("workdir", *common, instruction.path, step.config.user)
    if isinstance(instruction, ins.Run):
        mounts = [_mount_id(mount, origin, stages, step.place) for mount, origin in step.mounts]
        return digests.key("run", *common, _run_parts(step, options), mounts)
    assert isinstance(instruction, ins.Copy | ins.Add)
    words = [instruction.dest, instruction.chown, instruction.chmod, instruction.link, list(instruction.exclude)]
    words += [step.workdir, [[h.name, h.content] for h in instruction.heredocs], list(instruction.sources)]
    flags = (
        [instruction.parents] if isinstance(instruction, ins.Copy) else [instruction.unpack, instruction.keep_git_dir]
    )
    return digests.key(instruction.keyword, *common, words, flags, _sources_id(step, stages, remotes))


def _run_parts(step: steps.Step, options: Options) -> list[Any]:
    run = step.instruction
    assert isinstance(run, ins.Run)
    bodies = [[heredoc.name, heredoc.content] for heredoc in run.heredocs]
    mounts = [asdict(replace(_named(mount, options), raw="", from_="")) for mount, _ in step.mounts]
    network, security = step.network(options.network), run.security or "sandbox"
    parts = [_program(step), bodies, dict(step.environment), step.workdir, step.config.user, mounts, network, security]
    return [*parts, *filter(None, [buildargs.hostname(options.build_args)])]


def _named(mount: ins.Mount, options: Options) -> ins.Mount:
    """With the namespace in its id: who changes it wants steps to begin with empty caches."""
    if mount.type != "cache" or not options.build_args.get(buildargs.CACHE_NAMESPACE):
        return mount
    return replace(mount, id=buildargs.cache_id(mount, options.build_args))


def _program(step: steps.Step) -> list[str]:
    """The words that are run; of a script none, for its first line names what runs it."""
    run = step.instruction
    assert isinstance(run, ins.Run)
    script = df.script_of(run) if run.shell else None
    return [] if script and script.interpreted else list(metadata.argv(run, step.config))


def _mount_id(
    mount: ins.Mount, origin: steps.Origin | None, stages: Mapping[int, str], place: errors.Place | None
) -> str:
    if isinstance(origin, steps.FromStage):
        return stages[origin.index]
    if isinstance(origin, steps.FromTree):
        return tree_id(origin, mount.source or ".", place)
    return _origin_id(origin)


def _sources_id(step: steps.Step, stages: Mapping[int, str], remotes: Remotes) -> str:
    origin = step.origin
    if isinstance(origin, steps.FromStage):
        return stages[origin.index]
    if not isinstance(origin, steps.FromTree):
        return _origin_id(origin)
    instruction = step.instruction
    assert isinstance(instruction, ins.Copy | ins.Add)
    found = sources_in(origin, step, remotes)
    walked = digests.entries(_walked(found, selecting.excludes(instruction.exclude, step.place)))
    return digests.key("sources", walked, [source.entry.mtime for source in found if source.dated])


def sources_in(origin: steps.FromTree, step: steps.Step, remotes: Remotes) -> list[selecting.Source]:
    """What a COPY or ADD of a context names: its files, and of ADD what lies at its URLs."""
    instruction = step.instruction
    assert isinstance(instruction, ins.Copy | ins.Add)
    parents = isinstance(instruction, ins.Copy) and instruction.parents
    found: list[selecting.Source] = []
    for pattern in instruction.sources:
        if isinstance(instruction, ins.Add) and is_remote(pattern):
            found.append(remotes.tree(pattern, step))
            continue
        try:
            found += selecting.select(origin.tree, pattern, where=context_name(origin), parents=parents)
        except errors.BuildError as e:
            e.place = e.place or step.place.at(pattern)
            raise
    return found


def sources_of(step: steps.Step, tree: Tree) -> list[selecting.Source]:
    """What a COPY --from names in another stage's or image's files."""
    instruction = step.instruction
    assert isinstance(instruction, ins.Copy)
    found: list[selecting.Source] = []
    for pattern in instruction.sources:
        try:
            found += selecting.select(tree, pattern, where=f"{instruction.from_!r}", parents=instruction.parents)
        except errors.BuildError as e:
            e.place = e.place or step.place.at(pattern)
            raise
    return [replace(source, dated=True) for source in found]


def tree_id(origin: steps.FromTree, source: str = ".", place: errors.Place | None = None) -> str:
    """One digest over what `source` names in a context, at `place` in the Dockerfile."""
    try:
        found = selecting.one(origin.tree, source, where=context_name(origin))
    except errors.BuildError as e:
        e.place = e.place or place
        raise
    return digests.entries(_walked([found], selecting.excludes(())))


def shown_by(tree: Tree, source: str) -> str:
    """One digest over what a mount shows of a stage or image: owners too, for a step sees them, but no times.

    Raises BuildError where there is no such source."""
    found = _walked([selecting.one(tree, source, where="a mount")], selecting.excludes(()))
    return digests.shown(entry._replace(path=path) for path, entry in found)


def is_remote(source: str) -> bool:
    """True for what ADD fetches: a URL, or a git repository in the short form of ssh."""
    return sources.is_remote(source)


def context_name(origin: steps.FromTree) -> str:
    return f"the context {origin.name!r}" if origin.name else "the build context"


def _walked(found: Sequence[selecting.Source], excluded: df.Patterns) -> Iterator[tuple[bytes, Entry]]:
    return hashing.digested(_listed(found, excluded))


def _listed(found: Sequence[selecting.Source], excluded: df.Patterns) -> Iterator[hashing.Named]:
    for source in found:
        for below, entry in source.kept:
            yield hashing.Named(b"./" + below, source.tree, below, entry)
        yield hashing.Named(source.name, source.tree, source.path, source.entry)
        if source.entry.kind == Kind.DIR:
            with hashing.ahead(source.tree, source.path) if not excluded.size else contextlib.nullcontext():
                for below, path, entry in selecting.contents(source, excluded):
                    yield hashing.Named(below, source.tree, path, entry)
