"""Carrying out COPY, ADD and WORKDIR: the entries of their layers, with owners, modes and times."""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Callable, Sequence

from strata_builder import errors
from strata_builder.context import memory
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import digests, modes, placing, selecting, steps
from strata_builder.engine.times import STEP_TIME
from strata_builder.entries import Entry, Item, Kind
from strata_builder.frozen import frozen
from strata_builder.layers import following
from strata_builder.layers.items import Items
from strata_builder.rootfs import users, view


@frozen
class Placed:
    """A layer's items with their final times, and the key of their content."""

    items: Items
    content: str


def copy(
    step: steps.Step,
    sources: Sequence[selecting.Source],
    lower: view.View,
    *,
    epoch: int | None,
    dated: bool = True,
    archives: Callable[[selecting.Source], list[Item] | None] | None = None,
) -> Placed:
    """The layer of a COPY or ADD over `lower`. `archives` gives what an ADDed archive holds, None for what is none.

    Without `dated` the times that files bring along are left out of the key of the content: they are when something ran.
    Raises LayerError for what cannot stand where it should, DockerfileError for an unknown owner.
    """
    instruction = step.instruction
    assert isinstance(instruction, ins.Copy | ins.Add)
    below: placing.Lookup = placing.Nothing() if _stands_alone(instruction) else lower
    manner = placing.Manner(_owner(step, lower), *_mode(instruction, step))
    layer = placing.Layer(below, manner)
    dest, into = destination(instruction.dest, step.workdir)
    keeps_parents = isinstance(instruction, ins.Copy) and instruction.parents
    into = into or keeps_parents
    plain: list[selecting.Source] = []
    for source in sources:
        found = archives(source) if archives else None
        if found is None:
            plain.append(source)
        else:
            _unpack(found, dest, layer)
    everything = [*plain, *_heredocs(instruction)]
    if everything:
        placing.place(
            everything,
            dest,
            into=into,
            layer=layer,
            excluded=selecting.excludes(instruction.exclude, step.place.at("--exclude")),
        )
    elif keeps_parents:
        layer.folder(following.follow(layer.lookup, dest))  # BuildKit makes it although nothing matched
    return _timed(layer.finished(), epoch, dated=dated)


def workdir(step: steps.Step, lower: view.View, *, epoch: int | None) -> Placed:
    """The directories that WORKDIR has to make, owned by USER as by --chown=USER; no items where all are there."""
    assert isinstance(step.instruction, ins.Workdir)
    owner = users.owner(lower, step.config.user) if step.config.user else None
    layer = placing.Layer(lower, placing.Manner(owner))
    path = os.fsencode(step.instruction.path.lstrip("/"))
    layer.folder(following.follow(lower.lookup, path))
    items = layer.finished()
    is_there = all(lower.lookup(path) is not None for path in items.paths())
    return _timed(Items() if is_there else items, epoch)


def _stands_alone(instruction: ins.Copy | ins.Add) -> bool:
    """--link, save where --chmod would give its mode to the directories on the way, too: there BuildKit does not link."""
    return instruction.link and not instruction.chmod


def destination(dest: str, workdir: str) -> tuple[bytes, bool]:
    """(path below the root, whether it was written as a directory)."""
    into = dest.endswith(("/", "/.", "/..")) or dest in (".", "..")
    return os.fsencode(posixpath.normpath(posixpath.join("/", workdir, dest)).lstrip("/")), into


def _owner(step: steps.Step, lower: view.View) -> tuple[int, int] | None:
    chown = step.instruction.chown if isinstance(step.instruction, ins.Copy | ins.Add) else ""
    if not chown:
        return None
    try:
        return users.owner(lower, chown)
    except errors.BuildError as e:
        e.place = e.place or step.place.at("--chown")
        raise


def _mode(instruction: ins.Copy | ins.Add, step: steps.Step) -> tuple[Callable[[Entry], int] | None, int]:
    """How --chmod changes a mode, and the mode of directories on the way: of an octal one its permission bits."""
    if not instruction.chmod:
        return None, placing.FOLDER
    try:
        change = modes.parse(instruction.chmod)
    except ValueError as e:
        raise errors.DockerfileError(
            f"--chmod={instruction.chmod}: {e}",
            place=step.place.at("--chmod"),
            hint="write octal (0755) or symbolic (u=rwX,go=rX) modes",
        ) from e
    folder = change(placing.FOLDER, True) & 0o777 if instruction.chmod.isdigit() else placing.FOLDER
    return lambda entry: change(entry.mode, entry.kind == Kind.DIR), folder


def _heredocs(instruction: ins.Copy | ins.Add) -> list[selecting.Source]:
    found = []
    for heredoc in instruction.heredocs:
        name = os.fsencode(heredoc.name)
        tree = memory.MemoryTree({name: os.fsencode(heredoc.content)})
        entry = tree.lookup(name)
        assert entry is not None
        found.append(selecting.Source(tree, name, name, entry))
    return found


def _unpack(found: Sequence[Item], dest: bytes, layer: placing.Layer) -> None:
    """An archive's entries below `dest`. --chown counts for them and --chmod does not, as in BuildKit."""
    target = following.follow(layer.lookup, dest)
    layer.folder(target, placing.Manner(layer.manner.owner))
    place = _places(found, target, layer)
    at = [(place(item.entry.path), item) for item in found if item.entry.path]
    layer.clear({path for path, item in at if item.entry.kind != Kind.DIR})
    for path, item in at:
        entry = item.entry
        if entry.kind == Kind.HARDLINK:
            entry = entry._replace(link=place(entry.link))
        layer.unpack(path, entry, item.open)


def _places(found: Sequence[Item], target: bytes, layer: placing.Layer) -> Callable[[bytes], bytes]:
    """Where below `target` a path of the archive lies: what has no directory in the archive goes through a link that is
    there, as `lib/x` where /lib is a link to usr/lib. As in BuildKit the link stays inside of `target`, and one to what is not
    there is refused, as what lies below a link is."""
    own = {item.entry.path for item in found}

    def look(path: bytes) -> Entry | None:
        return None if path in own else layer.lookup(posixpath.join(target, path))

    @functools.cache
    def folder(path: bytes) -> bytes:
        at = b""
        for name in filter(None, path.split(b"/")):  # a loop: an archive's paths may be deeper than Python's stack
            at = posixpath.join(at, name)
            if (entry := look(at)) is not None and entry.kind == Kind.SYMLINK:
                found = following.follow(look, at)
                dangles = found != b"" and layer.lookup(posixpath.join(target, found)) is None
                at = at if dangles else found
        return at

    def place(path: bytes) -> bytes:
        above, name = posixpath.split(path)
        return posixpath.join(target, folder(above), name)

    return place


def _timed(items: Items, epoch: int | None, *, dated: bool = True) -> Placed:
    """`items` with their step's time where they have none of their own; with an epoch none is later than that."""
    content = digests.rows(items.rows(None if dated else STEP_TIME))
    when = digests.step_time(content) if epoch is None else epoch
    items.retime(lambda time: when if time == STEP_TIME or (epoch is not None and time > epoch) else time)
    return Placed(items, content)
