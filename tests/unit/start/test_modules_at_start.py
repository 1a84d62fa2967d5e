"""What a builder process has loaded when it does its first useful work: nothing that only later work, or none, needs."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from bench import builders

#: What no start needs: each of them brings ten others, or compiles expressions of its own.
NEVER = (
    "asyncio",
    "concurrent.futures",
    "dataclasses",
    "difflib",
    "inspect",
    "logging",
    "multiprocessing",
    "traceback",
)
#: What begins when the first answer of a registry is there, and what only some Dockerfiles and sources want.
LATER = (
    *("strata_builder.engine.execute", "strata_builder.layers.pack", "strata_builder.layers.unpack"),
    *("strata_builder.lint", "strata_builder.rootfs.overlay", "strata_builder.sandbox.seccomp"),
    *("strata_builder.context.git", "strata_builder.context.archive", "strata_builder.context.unzip"),
)
POD = ("argparse", "ctypes", "datetime", "isal", "shutil", "ssl", "subprocess", "tempfile", *NEVER, *LATER)
_LINE = re.compile(r"import time: +\d+ \| +\d+ \|( +)(\S+)")


def chains(report: str) -> dict[str, list[str]]:
    """Of each module in a report of `-X importtime`, the modules by which it was loaded, from the first."""
    found: dict[str, list[str]] = {}
    above: list[tuple[int, str]] = []
    for line in reversed(report.splitlines()):  # a module is told of after all that it loads
        if match := _LINE.match(line):
            while above and above[-1][0] >= len(match[1]):
                above.pop()
            above.append((len(match[1]), match[2]))
            found[match[2]] = [name for _, name in above]
    return found


def refuse(report: str, unwanted: tuple[str, ...]) -> None:
    loaded = chains(report)
    brought = [" > ".join(loaded[name]) for name in unwanted if name in loaded]
    assert not brought, "loaded before it is needed:\n" + "\n".join(brought)


def imported(*modules: str) -> str:
    argv = builders.python("; ".join(f"import {module}" for module in ("strata_builder.start", *modules)))
    ended = subprocess.run([argv[0], "-X", "importtime", *argv[1:]], capture_output=True, text=True, check=True)
    assert all(module in chains(ended.stderr) for module in modules)
    return ended.stderr


@pytest.mark.parametrize("module", ["strata_builder.pod.fetching", "strata_builder.pod.install"])
def test_a_container_of_a_pod_loads_no_more_than_it_begins_with(module: str):
    """fetch asks the registry then; what it loads beside that comes with `pod.preparing`."""
    wanted = {"strata_builder.pod.install": ("shutil",)}.get(module, ())
    refuse(imported("strata_builder.pod.main", module), tuple(name for name in POD if name not in wanted))


@pytest.mark.parametrize("module", ["building", "pushing", "whole"])
def test_no_container_loads_what_knows_other_sources(module: str):
    refuse(imported("strata_builder.pod.main", f"strata_builder.pod.{module}"), ("asyncio", "dataclasses", *LATER[-3:]))


@pytest.mark.parametrize("module", ["building", "checking", "planning", "logs.command"])
def test_no_command_loads_what_it_may_not_need(module: str):
    lint = ("strata_builder.lint",) if module == "checking" else ()
    unwanted = tuple(name for name in (*NEVER, *LATER) if name not in lint)
    refuse(imported("strata_builder.cli.main", f"strata_builder.cli.{module}"), unwanted)


def test_a_build_loads_what_carries_it_out_after_its_first_question(tmp_path: Path):
    """A whole process, up to its first connection to a registry."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        host = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "Dockerfile").write_text(f"FROM {host}/base\nRUN true\nCOPY Dockerfile /\n")
        argv = builders.command()
        argv = [argv[0], "-X", "importtime", *argv[1:], "build", "--insecure-registry", host, str(tmp_path)]
        environment = {**os.environ, **builders.environment(tmp_path)}
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment) as process:
            server.accept()[0].close()
            process.kill()
            report = process.communicate()[1]
    assert "strata_builder.engine.planner" in chains(report)
    refuse(report, (*NEVER, *LATER))


def test_the_way_to_a_module_is_told():
    lines = [(5, "inner"), (3, "outer"), (3, "other"), (1, "first")]
    report = "\n".join(f"import time:         1 |          1 |{' ' * depth}{name}" for depth, name in lines)
    assert chains(report)["inner"] == ["first", "outer", "inner"]
    with pytest.raises(AssertionError, match="first > outer > inner"):
        refuse(report, ("absent", "inner"))
