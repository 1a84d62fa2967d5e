"""The same targets, guided by what code the inputs reach: only in `make test-fuzz`. STRATA_SEED repeats a run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz import target, targets

_FACTOR = 4  # times the inputs of the run that is not guided
_HANGS = 3600  # seconds by the clock, for what uses no processor time


@pytest.mark.parametrize("tried", targets.ALL, ids=str)
def test_no_input_that_reaches_new_code_upsets_it(
    tried: target.Target, seed: int, effort: int, tell: Callable[[str, int], None], tmp_path: Path
) -> None:
    for folder in ("corpus", "faults"):
        (tmp_path / folder).mkdir()
    for number, data in enumerate(tried.seeds):
        (tmp_path / "corpus" / str(number)).write_bytes(data)
    done = _fuzzed(tried, seed, tried.runs * effort * _FACTOR, tmp_path)
    found = [path.read_bytes() for path in sorted((tmp_path / "faults").iterdir())]
    if found or done.returncode:
        shown = "\n".join(f"{target.fault(tried, data)}\n  {data[:3000]!r}" for data in found)
        pytest.fail(f"STRATA_SEED={seed}\n{shown}\n{done.stderr[-3000:]}{done.stdout[-3000:]}", pytrace=False)
    tell(f"{tried.name}, guided: {_reached(done.stderr)}", _executed(done.stderr))


def _fuzzed(tried: target.Target, seed: int, count: int, where: Path) -> subprocess.CompletedProcess[str]:
    """libFuzzer measures by the clock, and a machine may be busy: what takes too long is found by `target.execute`."""
    options = [
        f"-runs={count}", f"-seed={seed or 1}", f"-artifact_prefix={where}/faults/", f"-timeout={_HANGS}",
        f"-report_slow_units={_HANGS}", "-rss_limit_mb=1500", "-print_final_stats=1",
        f"-max_len={max(len(data) for data in tried.seeds) * 4 + 1000}",
    ]  # fmt: skip
    command = [sys.executable, "-m", "fuzz.guided", tried.name, *options, str(where / "corpus")]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _executed(said: str) -> int:
    found = re.search(r"number_of_executed_units:\s+(\d+)", said)
    return int(found[1]) if found else 0


def _reached(said: str) -> str:
    """Branches of our code that the seeds reach, and those that were reached at the end; what a corpus is worth.

    Where there are none, the code is of a package that `guided` does not watch, and was not guided at all.
    """
    found = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", said)
    assert found, f"no input reached code that is watched:\n{said[-2000:]}"
    (first, *_), (last, ways, kept) = found[0], found[-1]
    return f"branches {first} -> {last}, {ways} features, {kept} inputs kept"
