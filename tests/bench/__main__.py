"""Strata beside its peers: `python -m bench` builds each scenario with each builder, in turn, and prints what it took."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path

from bench import builders, costs, lab, report, scenarios
from cluster import binaries


def main() -> None:
    """Run the scenarios that are asked for; the table goes to standard output, progress to standard error."""
    asked = _arguments()
    results: dict[str, dict[str, list[costs.Cost]]] = {}
    for key in asked.scenarios:  # each with a registry of its own: none finds what another has left there
        with (
            tempfile.TemporaryDirectory(prefix="strata-bench-", dir=builders.SCRATCH) as folder,
            lab.Lab(Path(folder), binaries.ensure(), _say) as bench,
        ):
            _say(f"{key}: {scenarios.SCENARIOS[key].title}")
            results[key] = bench.run(scenarios.SCENARIOS[key], asked.builders, asked.rounds)
    if asked.json:
        kept = {k: {b: [asdict(c) for c in found] for b, found in by.items()} for k, by in results.items()}
        asked.json.write_text(json.dumps(kept, indent=1))
    titles = {key: one.title for key, one in scenarios.SCENARIOS.items()}
    print(f"{report.machine()}\n\n{report.table(results, titles)}")


def _arguments() -> argparse.Namespace:
    letters = "\n".join(f"  {key:<3} {one.title}" for key, one in scenarios.SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Build the same things with Strata and with its peers, and tell what it took.",
        epilog=f"scenarios:\n{letters}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    every, peers = ",".join(scenarios.SCENARIOS), ",".join(builders.NAMES)
    parser.add_argument("--scenarios", default=every, type=_words(scenarios.SCENARIOS), help=f"default: {every}")
    parser.add_argument("--builders", default=peers, type=_words(builders.NAMES), help=f"default: {peers}")
    parser.add_argument("--rounds", default=5, type=int, help="medians are of so many (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures of every round here")
    return parser.parse_args()


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
