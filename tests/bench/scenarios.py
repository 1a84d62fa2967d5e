"""What is built, one letter each, as a function of its size: a context that is written once, and what changes before each
round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import trees
from bench.bases import MB, Base

PACKING = ("strata", "strata-zstd", "buildkit", "buildkit-zstd", "buildkit-fresh", "buildah")
"""Where much is compressed, both compressions."""
KEEPING = ("strata", "strata-warm", "buildkit", "buildkit-fresh", "buildah")
"""Where something is there already, Strata with and without what it keeps on one machine."""
PLAIN = ("strata", "buildkit", "buildkit-fresh", "buildah")

TINY = Base("tiny")

_STEPS = """\
FROM {base} AS build
RUN mkdir /work && cp -r /data/usr/lib /work/lib
RUN mkdir /many && cd /many && i=0; while [ $i -lt SIZE ]; do echo {nonce} > f$i; i=$((i+1)); done
RUN find /many -name 'f1*' -exec chmod 600 {{}} +
RUN rm -rf /work/lib && mkdir -p /work/out
COPY src/one /work/src/
RUN cat /work/src/one > /work/out/one
RUN head -c 5000000 /dev/zero | tr '\\0' 'x' > /work/out/two
COPY src/last /work/src/
RUN cat /work/src/last > /work/out/last
FROM {base}
RUN rm -rf /data/usr/share
RUN mkdir -p /srv/app && echo {nonce} > /srv/app/nonce
COPY --from=build /work/out /srv/app/
RUN cat /srv/app/last > /srv/app/result
RUN ls /srv/app > /srv/app/list
"""
_PROJECT = """\
FROM {base}
WORKDIR /srv/app
COPY requirements ./
RUN mkdir lib && i=0; while [ $i -lt 200 ]; do cat requirements > lib/m$i; i=$((i+1)); done
COPY vendor ./vendor
COPY src ./src
"""
_TREE = "FROM {base}\nCOPY tree /tree\n"
_LAYERED = "FROM {base}\nCOPY tree /tree\nCOPY app /app\n"
_ONE_FILE = "FROM {base}\nCOPY file /srv/file\n"


@dataclass(frozen=True, slots=True)
class Scenario:
    """`write(context)` makes its files; `dockerfile` is formatted with `base` and, where it is to be new in every round,
    `nonce`; `changes` is the file that each round writes anew.

    `primed`: built before, so that builders have what they keep. `unseen`: no builder has the base. `new_base`: each
    round has another under its name. `linked`: who is quicker with `COPY --link` gets it. `row`: so many builds one after
    another, in turn of `projects`, whatever number of rounds is asked for. `makes` counts the paths that its steps make.
    `packs` is what share of the context's bytes is left at most when they are compressed.
    """

    title: str
    dockerfile: str
    base: Base = TINY
    write: Callable[[Path], None] = lambda context: None
    changes: str = ""
    primed: bool = False
    new_base: bool = False
    linked: bool = False
    unseen: bool = False
    projects: int = 0
    row: int = 0
    makes: int = 0
    packs: float = 1.0
    platforms: tuple[str, ...] = ()
    builders: tuple[str, ...] = PLAIN


@dataclass(frozen=True, slots=True)
class Family:
    """One letter: `at(size)` is the scenario, `size` its own, `sizes` those at which its growth is looked at."""

    unit: str
    size: int
    sizes: tuple[int, ...]
    at: Callable[[int], Scenario]

    @property
    def scenario(self) -> Scenario:
        return self.at(self.size)


def write_file(context: Path) -> None:
    """One small file."""
    (context / "file").write_text("first\n")


def _mixed(megabytes: int) -> Callable[[Path], None]:
    return lambda context: trees.mixed(context / "tree", megabytes * MB)


def _layered(megabytes: int) -> Callable[[Path], None]:
    def write(context: Path) -> None:
        trees.mixed(context / "tree", megabytes * MB)
        (context / "app").mkdir()
        (context / "app/main").write_text("first\n")

    return write


def _sources(context: Path) -> None:
    (context / "src").mkdir()
    for name in ("one", "last"):
        (context / "src" / name).write_text(f"{name}\n")


def _half(megabytes: int) -> Callable[[Path], None]:
    def write(context: Path) -> None:
        (context / "tree").mkdir()
        trees.big(context / "tree/big", megabytes * MB, random_share=0.5)

    return write


def _projects(context: Path) -> None:
    for number in range(10):
        project = context / f"project-{number}"
        trees.mixed(project / "vendor", 2 * MB)
        (project / "vendor/NAME").write_text(f"{number}\n")
        (project / "src").mkdir()


def cold_tree(size: int) -> Scenario:
    title = f"{size} MB mixed tree, cold"
    return Scenario(title, _TREE, Base("mixed", 120), _mixed(size), "tree/nonce", builders=PACKING)


def small_files(size: int) -> Scenario:
    def write(context: Path) -> None:
        trees.small(context / "tree", size)

    return Scenario(f"{size:,} small files, cold", _TREE, write=write, changes="tree/nonce", builders=PACKING)


def one_change(size: int) -> Scenario:
    title = f"one small change above a layer of {size} MB"
    return Scenario(title, _LAYERED, write=_layered(size), changes="app/main", primed=True, builders=KEEPING)


def no_change(size: int) -> Scenario:
    title = f"nothing changed, a layer of {size} MB"
    return Scenario(title, _LAYERED, write=_layered(size), primed=True, builders=KEEPING)


def stages(size: int) -> Scenario:
    # Each its own: of stages that are alike BuildKit runs one.
    text = "".join(f"FROM {{base}} AS s{n}\nRUN sleep 1; echo {{nonce}} {n} > /made\n" for n in range(size))
    text += "FROM {base}\n" + "".join(f"COPY --from=s{n} /made /made-{n}\n" for n in range(size))
    return Scenario(f"{size} stages that sleep a second", text, makes=2 * size)


def cold_steps(size: int) -> Scenario:
    text, title = _STEPS.replace("SIZE", str(size)), f"two stages, eleven RUNs, one of {size:,} files, cold"
    return Scenario(title, text, Base("mixed", 120), _sources, makes=2 * size, builders=PACKING)


def last_source(size: int) -> Scenario:
    text, title = _STEPS.replace("SIZE", str(size)), "e with its last source changed"
    return Scenario(
        title, text, Base("mixed", 120), _sources, "src/last", primed=True, makes=2 * size, builders=KEEPING
    )


def unseen_base(size: int) -> Scenario:
    title = f"one file on a base of {size:,} MB, never seen"
    return Scenario(title, _ONE_FILE, Base("big", size), write_file, "file", unseen=True)


def seen_base(size: int) -> Scenario:
    title = f"one file on a base of {size:,} MB, seen before"
    return Scenario(title, _ONE_FILE, Base("big", size), write_file, "file", primed=True, linked=True, builders=KEEPING)


def new_base(size: int) -> Scenario:
    title = f"a new base below unchanged COPYs, {size} MB"
    return Scenario(title, _LAYERED, Base("mixed", 120), _layered(size), primed=True, new_base=True)


def one_layer(size: int) -> Scenario:
    title = f"one file of {size:,} MB, half compressible, cold"
    return Scenario(title, _TREE, write=_half(size), changes="tree/nonce", packs=0.7, builders=PACKING)


def base_layers(size: int) -> Scenario:
    title = f"one file on a base of {size} layers, never seen"
    return Scenario(title, _ONE_FILE, Base("layers", size), write_file, "file", unseen=True)


def in_a_row(size: int) -> Scenario:
    title = f"{size} builds in a row of ten projects"
    return Scenario(title, _PROJECT, Base("mixed", 120), _projects, "src/main", projects=10, row=size, makes=200)


def two_platforms(size: int) -> Scenario:
    return Scenario(
        f"{size} MB for two platforms, cold",
        _TREE,
        Base("both", 20),
        _mixed(size),
        "tree/nonce",
        platforms=("linux/amd64", "linux/arm64"),
        builders=PACKING,
    )


def many_entries(size: int) -> Scenario:
    def write(context: Path) -> None:
        trees.empty(context / "tree", size)

    title = f"a layer of {size:,} entries, cold"
    return Scenario(title, _TREE, write=write, changes="tree/nonce", builders=("strata", "buildkit"))


FAMILIES = {
    "a": Family("MB", 450, (50, 150, 450, 900), cold_tree),
    "b": Family("files", 50_000, (5_000, 20_000, 50_000, 100_000), small_files),
    "c": Family("MB below", 450, (50, 150, 450, 900), one_change),
    "d": Family("MB", 450, (50, 150, 450, 900), no_change),
    "e": Family("files", 20_000, (2_000, 10_000, 20_000, 40_000), cold_steps),
    "f": Family("files", 20_000, (2_000, 10_000, 20_000, 40_000), last_source),
    "g": Family("stages", 20, (5, 10, 20, 40), stages),
    "h1": Family("MB of base", 1000, (125, 250, 500, 1000), unseen_base),
    "h2": Family("MB of base", 1000, (125, 250, 500, 1000), seen_base),
    "i": Family("MB of layers", 450, (50, 150, 450, 900), new_base),
    "j": Family("MB", 8000, (250, 500, 1000, 2000), one_layer),
    "j2": Family("MB", 1000, (), one_layer),
    "k": Family("layers of base", 100, (10, 25, 50, 100), base_layers),
    "l": Family("builds", 200, (), in_a_row),
    "m": Family("MB", 150, (25, 75, 150, 300), two_platforms),
    "n": Family("entries", 1_000_000, (25_000, 50_000, 100_000, 200_000), many_entries),
}
SCENARIOS = {key: family.scenario for key, family in FAMILIES.items()}


ROW = 50
"""So many builds of one builder are a row, whose builds are not alike."""


def title(key: str) -> str:
    """What is built; the letter alone for what is no scenario of ours (tests have others)."""
    return SCENARIOS[key].title if key in SCENARIOS else key
