"""What the operator's process has used, as the kernel and its own metrics tell, and the line about it after the tests."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import faults

SERVICE = "/api/v1/namespaces/strata-system/services/strata-operator-metrics:metrics/proxy/metrics"
_PROPERTY = "what it took"


@dataclass(frozen=True, slots=True)
class Costs:
    """Memory in bytes, time in seconds since the process began. `peak` is the most that it ever held."""

    pid: int
    peak: int
    resident: int
    cpu: float
    told_resident: float
    told_cpu: float


def read(operator: faults.Operator) -> Costs:
    """What /proc says of the process, and what the process says of itself."""
    pid = operator.pid()
    status = Path(f"/proc/{pid}/status").read_text()
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    told = operator.k("get", "--raw", SERVICE)
    return Costs(
        pid=pid,
        peak=_kibibytes(status, "VmHWM"),
        resident=_kibibytes(status, "VmRSS"),
        cpu=(int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
        told_resident=_metric(told, "process_resident_memory_bytes"),
        told_cpu=_metric(told, "process_cpu_seconds_total"),
    )


def _kibibytes(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, f"no {name}"
    return int(found[1]) * 1024


def _metric(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, f"no metric {name}"
    return float(found[1])


def since(before: Costs, after: Costs) -> str:
    """What is shown of the time between two looks at the operator."""
    same = before.pid == after.pid
    began, told = (before.cpu, before.told_cpu) if same else (0.0, 0.0)
    memory = f"memory at most {after.peak / 2**20:.0f} MiB, now {after.resident / 2**20:.0f}"
    metrics = f"its metrics say {after.told_resident / 2**20:.0f} MiB, {after.told_cpu - told:.1f} s"
    text = f"operator: {memory}, {after.cpu - began:.1f} s of CPU ({metrics})"
    return text if same else f"{text}; it was started anew meanwhile"


def report(record: pytest.FixtureRequest, line: str) -> None:
    """Have `line` shown after the tests. It travels with the test's report, also from another process."""
    record.node.user_properties.append((_PROPERTY, line))


def show(reporter: pytest.TerminalReporter) -> None:
    """The lines of all tests that passed or failed."""
    reports = [one for kind in ("passed", "failed") for one in reporter.stats.get(kind, ())]
    lines = [value for one in reports for name, value in getattr(one, "user_properties", ()) if name == _PROPERTY]
    if lines:
        reporter.section(_PROPERTY)
    for line in dict.fromkeys(lines):
        reporter.write_line(line)
