"""What must hold whatever the peers do: bytes that are not moved, requests, memory, disk, start-up, sizes of images."""

from __future__ import annotations

import json
import statistics
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack import images as own

from bench import costs, report, results, scenarios, startup
from cluster import folders

MB = 1_000_000
OURS = ("strata", "strata-zstd", "strata-warm")
UNMOVED = ("c", "d", "h2", "i")
REQUESTS = 7  # of a build of which everything is there: the cache's manifest and config, and five more
FIRST_WORK = 0.1  # seconds
IMAGE = {"builder": 60 * MB, "operator": 90 * MB}
MEMORY, PER_ENTRY = 100 * MB, 400
DISK = 20 * MB  # besides the packed new layers

starts = startup.measured


@dataclass(frozen=True, slots=True)
class Check:
    """`found` against `limit`, both in `unit`."""

    what: str
    found: float
    limit: float
    unit: str

    @property
    def holds(self) -> bool:
        return self.found <= self.limit


def checks(found: results.Results) -> list[Check]:
    """All that can be told from what was measured."""
    made = found.scenarios
    return [*_moved(made), *_requests(made), *_memory(made), *_disk(made), *_start(found), *_images(found)]


def _moved(made: Mapping[str, results.Measured]) -> Iterator[Check]:
    for key, most in _worst(made, UNMOVED, lambda cost: cost.moved):
        yield Check(f"{key}: bytes of the base and of unchanged layers that are moved", most / MB, 0, "MB")


def _requests(made: Mapping[str, results.Measured]) -> Iterator[Check]:
    for key, most in _worst(made, ("d",), lambda cost: cost.requests):
        yield Check(f"{key}: requests where everything is in the cache", most, REQUESTS, "")


def _memory(made: Mapping[str, results.Measured]) -> Iterator[Check]:
    for key, most in _worst(made, made, lambda cost: cost.memory):
        limit = (MEMORY + PER_ENTRY * made[key].entries) / MB
        yield Check(f"{key}: peak memory, push included, {made[key].entries:,} entries", most / MB, limit, "MB")


def _disk(made: Mapping[str, results.Measured]) -> Iterator[Check]:
    """Where no step runs, nothing but new layers has to lie on a disk."""
    still = [key for key in made if "RUN" not in scenarios.SCENARIOS[key].dockerfile]
    for key, most in _worst(made, still, lambda cost: cost.disk, names=("strata",)):
        limit = DISK + max(cost.stored for cost in made[key].rounds["strata"])
        yield Check(f"{key}: disk in use at once", most / MB, limit / MB, "MB")


def _start(found: results.Results) -> Iterator[Check]:
    for name, seconds in found.start.items():
        if name.startswith("strata") and not name.endswith(startup.CPU):
            yield Check(f"{name}: start to first request", statistics.median(seconds) * 1000, FIRST_WORK * 1000, "ms")


def _images(found: results.Results) -> Iterator[Check]:
    for name, size in found.images.items():
        yield Check(f"the {name} image, compressed", size / MB, IMAGE[name] / MB, "MB")


def _worst(
    made: Mapping[str, results.Measured],
    keys: Iterator[str] | Mapping[str, results.Measured] | tuple[str, ...] | list[str],
    pick: Callable[[costs.Cost], float],
    names: tuple[str, ...] = OURS,
) -> Iterator[tuple[str, float]]:
    """The most that any round of ours took, of each scenario that was measured."""
    for key in keys:
        taken = [pick(cost) for name in names for cost in made[key].rounds.get(name, ())] if key in made else []
        if taken:
            yield key, max(taken)


def table(found: results.Results) -> str:
    """The checks in Markdown."""
    lines = ["| must hold | found | limit | |", "| --- | --: | --: | --- |"]
    for check in checks(found):
        unit = f" {check.unit}" if check.unit else ""
        verdict = "holds" if check.holds else "**missed**"
        lines.append(f"| {check.what} | {_number(check.found)}{unit} | {_number(check.limit)}{unit} | {verdict} |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def start(found: results.Results) -> str:
    """How long starting takes, in Markdown."""
    heads = [report.row(["from its start", "wall ms", "CPU ms"]), report.row(["---", "--:", "--:"])]
    names = [name for name in found.start if not name.endswith(startup.CPU)]
    lines = [report.row([name, *(_milliseconds(found.start[n]) for n in (name, name + startup.CPU))]) for name in names]
    return "\n".join([*heads, *lines]) + "\n"


def _milliseconds(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):.0f}"


def images(say: Callable[[str], None]) -> dict[str, int]:
    """Bytes of the layers of Strata's own images, of those that `make images` has left."""
    found: dict[str, int] = {}
    for image in (own.BUILDER, own.OPERATOR):
        archive = folders.cache() / "strata-images" / f"{image.part}-{image.tag}.tar"
        if archive.exists():
            found[image.part] = _layers(archive)
        else:
            say(f"the {image.part} image of this source is not built: make images")
    return found


def _layers(archive: Path) -> int:
    with tarfile.open(archive) as tar:
        digest = _json(tar, "index.json")["manifests"][0]["digest"]
        return sum(layer["size"] for layer in _json(tar, f"blobs/{digest.replace(':', '/')}")["layers"])


def _json(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    member = tar.extractfile(name)
    assert member is not None, f"{name} is no file"
    return json.load(member)  # type: ignore[no-any-return]
