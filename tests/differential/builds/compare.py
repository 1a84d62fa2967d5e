"""Comparing what two builders made of one Dockerfile: layer by layer, then the configs. Pure.

Left out, each by a rule and never by case:

- what a layer only restates (all as below it): unpackers need parents, COPY of Strata carries what it copies whether it is
  there already or not, and BuildKit some files that a rename brought back; a directory's time alone is no change;
- how a removal is written: whiteouts and opaque markers count by what they remove from the layers below;
- a layer without any change: BuildKit writes it, Strata says `empty_layer`;
- when an image was made that has nothing at all, which Strata says and BuildKit does not;
- how the history puts a step into words (`history.py`): what a step did is compared, not how it is told;
- times of files that a step copied from a context (`_times`), digests of layers, and `ArgsEscaped`, a word for Windows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from differential.builds import history
from differential.builds.images import Entry, Image, Layer

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
FIELDS = ("kind", "mode", "uid", "gid", "size", "content", "link", "device", "xattrs")
FROM_A_CONTEXT = ("COPY ", "ADD ", "FROM")
"""How a step begins that may take files from a context; FROM tells of a base that is a folder."""
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Effects:
    """What a layer does to those below it: entries that it adds or changes, and the topmost paths that it removes."""

    entries: Mapping[str, Entry]
    removed: frozenset[str]
    stray: frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the history, and the effects of its layer; None where there is no layer or it has no effect.

    `copies` says that it takes files from a context.
    """

    text: str
    copies: bool
    effects: Effects | None


def differences(strata: Image, buildkit: Image, epoch: int) -> list[str]:
    """One line for each difference, always the same for the same images; both were built with times lowered to `epoch`."""
    faults = [f"image: {fault}" for fault in strata.faults]
    if faults:
        return faults
    return [*_steps(steps(strata), steps(buildkit), epoch), *configs(strata.config, buildkit.config)]


def steps(image: Image) -> list[Step]:
    """The image's history with what each step did."""
    found: list[Step] = []
    state: Layer = {}
    layers = iter(image.layers)
    for item in history.in_order(image.config.get("history") or []):
        effects = None
        if not item.get("empty_layer"):
            layer = next(layers)
            effects = effects_of(layer, state)
            state = apply(layer, state)
        changed = effects is not None and (effects.entries or effects.removed or effects.stray)
        words = str(item.get("created_by", ""))
        text = history.meaning(words)
        if changed or not history.declares(text):
            found.append(
                Step(text, text.startswith(FROM_A_CONTEXT) and "--from=" not in words, effects if changed else None)
            )
    return found


def effects_of(layer: Layer, state: Layer) -> Effects:
    """What `layer` does to `state`, the files of the layers below it."""
    entries = {
        path: entry for path, entry in layer.items() if not _whiteout(path) and not _restates(entry, state.get(path))
    }
    entries.pop("", None)
    gone, stray = set[str](), set[str]()
    for path in filter(_whiteout, layer):
        hidden = _hidden(path, state)
        gone |= hidden
        if not hidden:
            stray.add(path)
    after = apply(layer, state)
    lost = {path for path in state if path and path not in after}
    # A file in the place of a directory removes what was below it without a whiteout.
    below = {path for path in lost if any(up in lost or up in entries for up in _parents(path))}
    return Effects(entries, frozenset(lost - below), frozenset(stray))


def apply(layer: Layer, state: Layer) -> Layer:
    """`state` after `layer` was unpacked over it; whiteouts act on the layers below only (image-spec, layer.md)."""
    gone = set[str]().union(*(_hidden(path, state) for path in layer if _whiteout(path)))
    flat = {path for path, entry in layer.items() if not _whiteout(path) and entry.kind != "directory"}
    kept = {
        path: entry
        for path, entry in state.items()
        if path not in gone and not any(up in flat for up in _parents(path))
    }
    return {**kept, **{path: entry for path, entry in layer.items() if not _whiteout(path)}}


def _hidden(whiteout: str, state: Layer) -> set[str]:
    folder, _, name = whiteout.rpartition("/")
    if name == OPAQUE:
        return {path for path in state if path and (not folder or path.startswith(f"{folder}/"))}
    target = f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/")
    return {path for path in state if path == target or path.startswith(f"{target}/")}


def _whiteout(path: str) -> bool:
    return path.rpartition("/")[2].startswith(WHITEOUT)


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _restates(entry: Entry, below: Entry | None) -> bool:
    if below is None:
        return False
    return entry == below or (entry.kind == "directory" and replace(entry, time=0) == replace(below, time=0))


def _steps(strata: list[Step], buildkit: list[Step], epoch: int) -> Iterator[str]:
    for number, (mine, theirs) in enumerate(itertools.zip_longest(strata, buildkit), 1):
        if mine is None or theirs is None:
            yield f"step {number}: only {'BuildKit' if mine is None else 'Strata'} has it: {(mine or theirs).text}"
            continue
        if mine.text != theirs.text:
            yield f"step {number}: created_by {mine.text!r}, BuildKit {theirs.text!r}"
        for line in _effects(mine, theirs, epoch):
            yield f"step {number}: {line}"


def _effects(mine: Step, theirs: Step, epoch: int) -> Iterator[str]:
    nothing = Effects({}, frozenset(), frozenset())
    ours, other = mine.effects or nothing, theirs.effects or nothing
    for path in sorted(ours.entries.keys() | other.entries.keys()):
        yield from _entries(
            path, ours.entries.get(path), other.entries.get(path), epoch, copied=mine.text.startswith(FROM_A_CONTEXT)
        )
    yield from (f"{path}: removed by Strata only" for path in sorted(ours.removed - other.removed))
    yield from (f"{path}: removed by BuildKit only" for path in sorted(other.removed - ours.removed))
    yield from (f"{path}: whiteout of what is not there" for path in sorted(ours.stray - other.stray))


def _entries(path: str, mine: Entry | None, theirs: Entry | None, epoch: int, *, copied: bool) -> Iterator[str]:
    path = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    if mine is None or theirs is None:
        yield f"{path}: only {'BuildKit' if mine is None else 'Strata'} has it: {shown(mine or theirs)}"
        return
    for name in FIELDS:
        if getattr(mine, name) != getattr(theirs, name) and not (name == "size" and mine.content != theirs.content):
            yield f"{path}: {name} {_value(mine, name)}, BuildKit {_value(theirs, name)}"
    if not _times(mine, theirs, epoch, copied=copied):
        yield f"{path}: time {mine.time}, BuildKit {theirs.time}"


def _times(mine: Entry, theirs: Entry, epoch: int, *, copied: bool) -> bool:
    """Are they as designed? Files from a context have the epoch, where BuildKit keeps an earlier time of the file's own."""
    if mine.kind == "directory" or mine.time == theirs.time:
        return True
    return copied and mine.time == epoch and theirs.time < epoch


def shown(entry: Entry | None) -> str:
    """An entry in a few words."""
    assert entry is not None
    link = f" -> {entry.link}" if entry.link else ""
    return f"{entry.kind} {entry.mode:04o} {entry.uid}:{entry.gid}{link}"


def _value(entry: Entry, name: str) -> str:
    if name == "mode":
        return f"{entry.mode:04o}"
    if name == "content":
        return repr(entry.text) if entry.size <= len(entry.text) else f"{entry.size} bytes {entry.content[:12]}"
    return repr(getattr(entry, name))


def configs(strata: Mapping[str, Any], buildkit: Mapping[str, Any]) -> Iterator[str]:
    """One line for each field that differs."""
    mine, theirs = dict(_flat("", _comparable(strata))), dict(_flat("", _comparable(buildkit)))
    if "created" not in theirs and not buildkit.get("history"):
        mine.pop("created", None)
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name, _MISSING) != theirs.get(name, _MISSING):
            yield f"config: {name} {_found(mine, name)}, BuildKit {_found(theirs, name)}"


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without layers and history, which `steps` compares, but with the times of what both tell of."""
    inner = {key: value for key, value in config.get("config", {}).items() if key != "ArgsEscaped"}
    told = [item for item in config.get("history") or [] if not _declares(item)]
    times = sorted({str(item["created"]) for item in told if "created" in item})
    return {**config, "config": inner, "rootfs": {}, "history": times}


def _declares(item: Mapping[str, Any]) -> bool:
    return bool(item.get("empty_layer")) and history.declares(history.meaning(str(item.get("created_by", ""))))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(path, leaf) of everything that says something: null, empty and absent mean the same in a config."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
        if not value and prefix.count(".") > 1:
            yield prefix, {}
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from _flat(f"{prefix}[{number}]", inner)
    elif value not in (None, "", [], False):
        yield prefix, value


def _found(values: Mapping[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else "absent"
