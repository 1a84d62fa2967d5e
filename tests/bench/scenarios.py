"""What is built, one letter each: a context that is written once, and what changes before each round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import trees

MB = 1_000_000
_STEPS = """\
FROM {base} AS build
RUN mkdir /work && cp -r /data/usr/lib /work/lib
RUN mkdir /many && cd /many && i=0; while [ $i -lt 20000 ]; do echo {nonce} > f$i; i=$((i+1)); done
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
_SLEEPS = "".join(f"FROM {{base}} AS s{n}\nRUN sleep 1; echo {{nonce}} > /made\n" for n in range(20))
_SLEEPS += "FROM {base}\n" + "".join(f"COPY --from=s{n} /made /made-{n}\n" for n in range(20))


@dataclass(frozen=True, slots=True)
class Scenario:
    """`write(context)` makes its files; `dockerfile` is formatted with `base` and, where it is to be new in every
    round, `nonce`; `changes` is the file that each round writes anew. `primed`: built before, so that builders have
    what they keep. `base` is a name that `write_base` knows; `unseen`: no builder has it. `new_base`: each round has
    another under its name. `linked`: who is quicker with `COPY --link` gets it."""

    title: str
    dockerfile: str
    base: str = "tiny"
    write: Callable[[Path], None] = lambda context: None
    changes: str = ""
    primed: bool = False
    new_base: bool = False
    linked: bool = False
    unseen: bool = False


def _mixed(context: Path) -> None:
    trees.mixed(context / "tree", 450 * MB)


def _small(context: Path) -> None:
    trees.small(context / "tree", 50_000)


def _layered(context: Path) -> None:
    trees.mixed(context / "tree", 450 * MB)
    (context / "app").mkdir()
    (context / "app/main").write_text("first\n")


def _sources(context: Path) -> None:
    (context / "src").mkdir()
    for name in ("one", "last"):
        (context / "src" / name).write_text(f"{name}\n")


def write_file(context: Path) -> None:
    """One small file."""
    (context / "file").write_text("first\n")


_LAYERED = "FROM {base}\nCOPY tree /tree\nCOPY app /app\n"
_ONE_FILE = "FROM {base}\nCOPY file /srv/file\n"

SCENARIOS = {
    "a": Scenario("450 MB mixed tree, cold", "FROM {base}\nCOPY tree /tree\n", "120 MB", _mixed, "tree/nonce"),
    "b": Scenario("50,000 small files, cold", "FROM {base}\nCOPY tree /tree\n", "tiny", _small, "tree/nonce"),
    "c": Scenario("one small change above a big layer", _LAYERED, "tiny", _layered, "app/main", primed=True),
    "d": Scenario("nothing changed", _LAYERED, "tiny", _layered, primed=True),
    "e": Scenario("two stages, eleven RUNs, cold", _STEPS, "120 MB", _sources),
    "f": Scenario("e with its last source changed", _STEPS, "120 MB", _sources, "src/last", primed=True),
    "g": Scenario("20 stages that sleep a second", _SLEEPS),
    "h1": Scenario("one file on a base of 1 GB, never seen", _ONE_FILE, "1 GB", write_file, "file", unseen=True),
    "h2": Scenario("the same, the base seen before", _ONE_FILE, "1 GB", write_file, "file", primed=True, linked=True),
    "i": Scenario("a new base below unchanged COPYs", _LAYERED, "120 MB", _layered, primed=True, new_base=True),
    "k": Scenario("one file on a base of 100 layers", _ONE_FILE, "100 layers", write_file, "file", unseen=True),
}


def base_dockerfile(name: str) -> str:
    """The Dockerfile of a base, in whose context `write_base` has put files."""
    if name == "tiny":
        return "FROM {host}/library/testbase\n"
    if name == "100 layers":
        return "FROM {host}/library/testbase\n" + "".join(f"COPY part{n} /part{n}\n" for n in range(99))
    return "FROM {host}/library/testbase\nCOPY data /data\n"


def write_base(name: str, context: Path) -> None:
    """The files of the base `name`."""
    if name == "120 MB":
        trees.mixed(context / "data", 120 * MB)
    elif name == "1 GB":
        trees.mixed(context / "data", 700 * MB)
        trees.big(context / "data/big", 300 * MB, random_share=0.3)
    elif name == "100 layers":
        for number in range(99):
            (context / f"part{number}").write_text(f"{number}\n" * 1000)
