"""How long a builder process takes until its first useful work: until its first connection reaches a registry.

By then the interpreter and all modules are loaded, the request or the command line is read, the Dockerfile is parsed, and
the client knows what it wants. What is measured is the time from starting the process to accepting that connection.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import builders
from support import pods

_PATIENCE = 30.0


def measured(rounds: int) -> dict[str, list[float]]:
    """Seconds, of the command `strata build` and of a pod's container `fetch`; and of a bare interpreter to its end."""
    with tempfile.TemporaryDirectory(dir=builders.SCRATCH) as folder, socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_PATIENCE)
        host = f"127.0.0.1:{server.getsockname()[1]}"
        cases = {"strata build": _command(Path(folder), host), "strata-pod fetch": _pod(Path(folder), host)}
        found: dict[str, list[float]] = {name: [] for name in (*cases, "python alone")}
        for number in range(rounds + 1):
            taken = {name: _to_connection(argv(number), server, Path(folder)) for name, argv in cases.items()}
            taken["python alone"] = _to_end([sys.executable, "-I", "-S", "-c", "pass"])
            for name, seconds in taken.items() if number else ():  # the first compiles modules
                found[name].append(seconds)
    return found


def _command(folder: Path, host: str) -> Callable[[int], Sequence[str]]:
    context = folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(_dockerfile(host))
    (context / "file").write_text("file\n")
    tag = f"{host}/start:1"
    return lambda _: [*builders.command(), "build", "--insecure-registry", host, "--tag", tag, "--push", str(context)]


def _pod(folder: Path, host: str) -> Callable[[int], Sequence[str]]:
    """Each time a new pod, as the kubelet would have it."""
    code = "from strata_builder.pod import __main__ as pod, ending; ending.leave(pod.main(sys.argv[1:]))"

    def argv(number: int) -> Sequence[str]:
        request = pods.request(host, dockerfile_inline=True, insecure_registries=(host,))
        pod = pods.Pod(folder / f"pod-{number}", request, {"file": "file\n"}, _dockerfile(host))
        pod.folder.mkdir()
        return [*builders.python(code), "fetch", "--home", str(pod.home("fetch"))]

    return argv


def _dockerfile(host: str) -> str:
    return f"FROM {host}/base\nRUN true\nCOPY file /file\n"


def _to_connection(argv: Sequence[str], server: socket.socket, home: Path) -> float:
    """The process is ended then: there is nothing behind the socket."""
    environment, quiet = {**os.environ, **builders.environment(home)}, subprocess.DEVNULL
    start = time.perf_counter()
    with subprocess.Popen(argv, stdout=quiet, stderr=quiet, env=environment) as process:
        try:
            server.accept()[0].close()
            return time.perf_counter() - start
        finally:
            process.kill()


def _to_end(argv: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True)
    return time.perf_counter() - start
