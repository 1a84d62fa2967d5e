"""SOURCE_DATE_EPOCH: a number of seconds since 1970, or a word that says whose time it is, as in BuildKit's frontend.

`context` is the build context's own time: the commit's, or that of the last change as the server of an archive tells, else
the newest file in it. The name of a named context means that one's; the name of a stage means what its one ADD fetches.
A folder of this machine has no such time: then nothing is fixed. Pure but for `Remote`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import instructions as ins
from strata_builder.dockerfile import sources
from strata_builder.engine import contexts
from strata_builder.engine.options import Options
from strata_builder.frozen import replace

ARGUMENT: Final = "SOURCE_DATE_EPOCH"
MAX: Final = 253_402_300_799  # 9999-12-31T23:59:59Z: RFC 3339, in which images tell times, has no later one
Remote = Callable[[str, ins.Add, errors.Place], int | None]
"""The time of what an ADD fetches from a URL, None where nothing tells it."""


def settled(file: df.Dockerfile, options: Options, outer: Mapping[str, str], remote: Remote) -> Options:
    """`options` with the epoch as a number, in `source_date_epoch` and as a build argument, or in neither.

    `outer` is what FROM lines see: an ARG before the first FROM may give it, too. An epoch that is in `options` already
    stands. Raises InvalidSpec for a word that means nothing, DockerfileError for a stage that is more than one ADD.
    """
    word = options.build_args.get(ARGUMENT, outer.get(ARGUMENT, ""))
    epoch = options.source_date_epoch
    if epoch is None:
        epoch = _number(word) if word.isdigit() else _meant(word, file, options, outer, remote) if word else None
        epoch = None if epoch is None else min(max(epoch, 0), MAX)  # an archive may say anything of its files
    return fixed(options, epoch)


def fixed(options: Options, epoch: int | None) -> Options:
    """`options` with an epoch that was settled before."""
    args = {name: value for name, value in options.build_args.items() if name != ARGUMENT}
    if epoch is not None:
        args[ARGUMENT] = str(epoch)
    return replace(options, source_date_epoch=epoch, build_args=args)


def told(outer: Mapping[str, str], epoch: int | None) -> dict[str, str]:
    """What an ARG of a stage takes from outside: the epoch as a number, never the word that stood for it."""
    kept = {name: value for name, value in outer.items() if name != ARGUMENT}
    return kept | {ARGUMENT: str(epoch)} if ARGUMENT in outer and epoch is not None else kept


def _number(word: str) -> int:
    if not word.isascii() or len(word) > 12 or int(word) > MAX:
        raise errors.InvalidSpec(f"{ARGUMENT}={word[:40]} is more than {MAX} seconds since 1970")
    return int(word)


def _meant(word: str, file: df.Dockerfile, options: Options, outer: Mapping[str, str], remote: Remote) -> int | None:
    if word == "context":
        return options.context_time
    named = contexts.find(options.contexts, word)
    if named is not None:
        return named.time if isinstance(named, contexts.TreeContext) else None
    stage = next((stage for stage in file.stages if stage.name == word.lower()), None)
    if stage is None:
        raise errors.InvalidSpec(
            f"{ARGUMENT}={word[:100]!r} is no time",
            hint="give seconds since 1970, `context`, or the name of a named context or of a stage that is one ADD",
        )
    return _of_stage(stage, file, options, outer, remote)


def _of_stage(
    stage: df.Stage, file: df.Dockerfile, options: Options, outer: Mapping[str, str], remote: Remote
) -> int | None:
    visible = {name: value for name, value in outer.items() if name != ARGUMENT}
    language = {"escape": file.escape, "file": file.name, "source": file.source}
    found: list[tuple[ins.Add, errors.Place]] = []
    if df.resolve(stage.from_, visible, **language).image != "scratch":
        raise _refused(file, stage.from_)
    for instruction in stage.instructions:
        if isinstance(instruction, ins.Arg):
            made = df.resolve_arg(instruction, visible, options.build_args, **language)
            visible |= {name: value for name, value in made.pairs if value is not None}
        elif isinstance(instruction, ins.Add) and not found:
            found.append((df.resolve(instruction, visible, **language), df.place(file, instruction.span)))
        else:
            raise _refused(file, instruction)
    if not found or not _is_one_remote(found[0][0]):
        raise _refused(file, stage.from_)
    add, place = found[0]
    return remote(add.sources[0], add, place)


def _is_one_remote(add: ins.Add) -> bool:
    return len(add.sources) == 1 and not add.heredocs and sources.is_remote(add.sources[0])


def _refused(file: df.Dockerfile, instruction: ins.Instruction) -> errors.DockerfileError:
    return errors.DockerfileError(
        f"a stage that gives {ARGUMENT} is FROM scratch and one ADD of one URL, beside ARG",
        place=df.place(file, instruction.span),
        hint=f"move the ADD into a stage of its own, or give {ARGUMENT} as a number",
    )
