"""`python -m bench run | growth | absolute | report`: Strata beside its peers, and what becomes of the figures."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

from bench import absolute, builders, costs, document, lab, profiles, report, results, scenarios, targets
from cluster import binaries

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs/benchmarks/results.json"
GROWING = ("strata", "buildkit")


def main() -> None:
    """What is measured goes to `--results` build by build, tables to standard output, progress to standard error."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # mounts, daemons and groups end with us
    asked.do(asked)


def _run(asked: argparse.Namespace) -> None:
    found = _begun(asked)
    with _lab() as bench:
        for key in asked.scenarios:
            wanted = scenarios.SCENARIOS[key]
            names = [name for name in wanted.builders if name in asked.builders]
            _measure(bench, wanted, found.of(key), names, asked, found)
    shown = results.Results(found.machine, found.parts, {key: found.scenarios[key] for key in asked.scenarios})
    print(
        f"{found.machine}\n\n{report.table(shown.scenarios)}\n{targets.table(shown.scenarios)}\n{absolute.table(shown)}"
    )


def _growth(asked: argparse.Namespace) -> None:
    found = _begun(asked)
    with _lab() as bench:
        for key in asked.scenarios:
            family = scenarios.FAMILIES[key]
            for size in family.sizes:
                wanted = family.at(size)
                names = [name for name in GROWING if name in wanted.builders]
                _measure(bench, wanted, found.of(key, size), names, asked, found)


def _measure(
    bench: lab.Lab,
    wanted: scenarios.Scenario,
    into: results.Measured,
    names: list[str],
    asked: argparse.Namespace,
    found: results.Results,
) -> None:
    """What is missing of one scenario; a row is measured once, and whole."""
    if asked.again:
        into.rounds = {}
    rounds = into.missing(names, wanted.row or asked.rounds)
    if wanted.row and any(rounds.values()):
        into.rounds, rounds = {}, dict.fromkeys(names, wanted.row)
    if not any(rounds.values()):
        return

    def keep(name: str, cost: costs.Cost) -> None:
        into.rounds.setdefault(name, []).append(cost)
        found.write(asked.results)

    _say(wanted.title)
    outcome = bench.run(wanted, rounds, keep)
    into.entries, into.skipped = outcome.entries, {**into.skipped, **outcome.skipped}
    for name, why in outcome.skipped.items():
        _say(f"{name}: left out: {why}")
    found.write(asked.results)


def _profile(asked: argparse.Namespace) -> None:
    found = _begun(asked)
    with _lab() as bench:
        for key in asked.scenarios:
            wanted = scenarios.SCENARIOS[key]
            names = [name for name in wanted.builders if name in ("strata", "strata-warm")]
            _say(wanted.title)
            found.profiles[key] = profiles.of_scenario(bench, wanted, names, asked.rounds)
            found.write(asked.results)
    print(profiles.table({key: found.profiles[key] for key in asked.scenarios}))


def _absolute(asked: argparse.Namespace) -> None:
    found = _begun(asked)
    found.start, found.images = absolute.starts(asked.rounds), absolute.images(_say)
    found.write(asked.results)
    print(absolute.table(found))


def _report(asked: argparse.Namespace) -> None:
    found = results.merged(asked.parts or [asked.results])
    if asked.parts:
        found.write(asked.results)
    document.write(found, asked.results.resolve().parent, plots=not asked.no_plots)


def _begun(asked: argparse.Namespace) -> results.Results:
    found = results.read(asked.results)
    found.begin()
    return found


@contextlib.contextmanager
def _lab() -> Iterator[lab.Lab]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=builders.SCRATCH) as folder,
        lab.Lab(Path(folder), binaries.ensure(), _say) as bench,
    ):
        yield bench


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(required=True)
    adding = partial(_command, commands)
    run = adding("run", _run, "build every scenario with every builder", rounds=5)
    _add_scenarios(run, scenarios.SCENARIOS)
    peers = ",".join(builders.NAMES)
    run.add_argument("--builders", default=peers, type=_words(builders.NAMES), help=f"default: {peers}")
    growth = adding("growth", _growth, "the same in several sizes", rounds=3)
    _add_scenarios(growth, [key for key, family in scenarios.FAMILIES.items() if family.sizes])
    profile = adding("profile", _profile, "where the time of our builds goes", rounds=3)
    _add_scenarios(profile, list(scenarios.SCENARIOS))
    adding("absolute", _absolute, "time to first work, sizes of the images", rounds=11)
    told = adding(
        "report", _report, "draw the plots and write the page (docs/benchmarks.md) from what was kept", rounds=0
    )
    told.add_argument("parts", nargs="*", type=Path, help="files of runs apart, put together into --results")
    told.add_argument("--no-plots", action="store_true", help="leave the PNGs as they are (needs no matplotlib)")
    return parser.parse_args()


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    do: Callable[[argparse.Namespace], None],
    text: str,
    *,
    rounds: int,
) -> argparse.ArgumentParser:
    letters = "\n".join(f"  {key:<3} {one.title}" for key, one in scenarios.SCENARIOS.items())
    kind = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(
        name, help=text, description=text, epilog=f"scenarios:\n{letters}", formatter_class=kind
    )
    parser.set_defaults(do=do)
    parser.add_argument("--results", type=Path, default=KEPT, metavar="FILE", help=f"default: {KEPT}")
    if rounds:
        parser.add_argument("--rounds", default=rounds, type=int, help=f"medians are of so many (default: {rounds})")
    return parser


def _add_scenarios(parser: argparse.ArgumentParser, known: Collection[str]) -> None:
    every = ",".join(known)
    parser.add_argument("--scenarios", default=every, type=_words(known), help=f"default: {every}")
    parser.add_argument("--again", action="store_true", help="forget the rounds that are there of these scenarios")


def _words(known: Collection[str]) -> Callable[[str], list[str]]:
    """Reads a list with commas, of words that are known."""

    def split(text: str) -> list[str]:
        words = text.split(",")
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return words

    return split


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
