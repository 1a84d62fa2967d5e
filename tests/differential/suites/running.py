"""Building a suite's cases with both builders, and what came of them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from differential.builds import bench, explained, folders
from differential.builds.cases import Case
from differential.suites import stand_ins
from differential.suites.recorded import Recorded
from support.file_server import Answer

TABLES = Path(__file__).parent / "explained.toml"
NO_BASE = ("not found at the mirror", "failed to resolve source metadata")
"""What Strata and BuildKit say where there is no stand-in for a base image."""
TELL_AFTER = 50
"""Cases."""
REFUSED = f"outcome: {bench.OUTCOMES[False, False]}"


def tables(path: Path = TABLES) -> tuple[dict[str, explained.Explanation], dict[str, str]]:
    """The explanations, and the reasons of what is left out, each by SUITE/CASE.

    Raises:
        ValueError: an entry lacks something, or a case is there twice.
    """
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    excused: dict[str, str] = {}
    for item in found.pop("left_out", []):
        if not item.get("why") or item.keys() != {"why", "cases"}:
            raise ValueError(f"{item}: an entry needs cases and why")
        for case in item["cases"]:
            if case in excused:
                raise ValueError(f"{case} is left out twice")
            excused[case] = item["why"]
    return explained.parse(found), excused


@dataclass
class Tally:
    """What came of the cases of one suite: counts, and a text for each that nobody explained."""

    suite: str
    found: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ran = self.counts.total()
        reasons = "".join(f"\n  left out: {count} {why}" for why, count in sorted(self.left_out.items()))
        return (
            f"{self.suite}: {self.found} cases, {ran} built: {self.counts['same']} the same, "
            f"{self.counts['refused']} refused by both, {self.counts['explained']} explained, "
            f"{self.counts['unexplained']} unexplained{reasons}"
        )


@dataclass
class Runner:
    """`table` explains differences and `excused` cases that neither builds here, both by SUITE/CASE."""

    builders: bench.Bench
    table: dict[str, explained.Explanation]
    excused: dict[str, str]

    def run(self, suite: str, cases: Iterable[Recorded]) -> Tally:
        """Builds the cases one by one; every so often it tells how far it has come."""
        tally = Tally(suite)
        for case in cases:
            if tally.found and tally.found % TELL_AFTER == 0:
                print(f"\n{tally}", flush=True)
            tally.found += 1
            name = f"{suite}/{case.name}"
            if why := case.needs or self.excused.get(name, "") or stand_ins.reason(_words(case)):
                tally.left_out[why] += 1
                continue
            self._build(name, case, tally)
        return tally

    def _build(self, name: str, case: Recorded, tally: Tally) -> None:
        differences = self._compare(name, case)
        if differences == [REFUSED] and all(text in self.builders.said for text in NO_BASE):
            tally.left_out["nothing here plays the part of its base image"] += 1
            return
        explanation = self.table.get(name)
        if differences == [REFUSED] and case.fails is not False:
            verdict, wrong = "refused", explained.verdict([], explanation)
        else:
            verdict = "explained" if explanation else "same"
            wrong = explained.verdict(differences, explanation)
        tally.counts["unexplained" if wrong else verdict] += 1
        if wrong:
            tally.faults.append(f"{name}\n{wrong}\n{self.builders.said}")
            print(f"\n{name}: {wrong}", flush=True)  # the end of a suite may be an hour away

    def _compare(self, name: str, case: Recorded) -> list[str]:
        work = Path(tempfile.mkdtemp(prefix="suite-", dir=self.builders.strata.site.folder))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, work)
            made = folders.Folders(case.context, _rewritten(case, work), dict(case.named), dict(case.secrets))
            self.builders.strata.site.serve_for(made.dockerfile, _answers(case.served))
            return self.builders.compare_folders(Case(name, case.settings, ()), made, work)


def _rewritten(case: Recorded, work: Path) -> Path:
    """The Dockerfile that both build, with the file of ignore rules that goes with it."""
    folder = work / "dockerfile"
    folder.mkdir()
    source = _written(case)
    if source is not None:
        (folder / source.name).write_bytes(stand_ins.dockerfile(source.read_bytes()))
    rules = case.dockerfile.with_name(f"{case.dockerfile.name}.dockerignore")
    if rules.exists():
        shutil.copy(rules, folder)
    return folder / case.dockerfile.name


def _written(case: Recorded) -> Path | None:
    """Its Dockerfile, which may be there in small letters only, or not at all."""
    places = [case.dockerfile, case.dockerfile.with_name(case.dockerfile.name.lower())]
    return next((path for path in places if path.exists()), None)


def _answers(served: Path | None) -> dict[str, Answer]:
    """What the server of files has: everything below a folder."""
    if served is None:
        return {}
    files = [path for path in served.rglob("*") if path.is_file()]
    return {f"/{path.relative_to(served).as_posix()}": Answer(path.read_bytes()) for path in files}


def _text(case: Recorded) -> str:
    source = _written(case)
    return source.read_bytes().decode(errors="replace") if source else ""


def images(cases: Iterable[Recorded]) -> set[tuple[str, str]]:
    """The base images that the cases name."""
    return stand_ins.images(map(_words, cases))


def _words(case: Recorded) -> str:
    return "\n".join([_text(case), *(value for _, value in case.settings)])
