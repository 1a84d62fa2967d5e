"""How long a builder process takes until its first useful work: until its first connection reaches a registry.

By then the interpreter and all modules are loaded, the request or the command line is read, the Dockerfile is parsed, and
the client knows what it wants. What is measured is the time from starting the process to accepting that connection.

The interpreter is the one that `runtime.sh` puts into the builder image, where this machine has it: Debian's is built with
profiles of its use, and starts a tenth sooner than one that is not.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import builders
from support import pods

CPU = ", CPU"
_PATIENCE = 30.0
_IN_THE_IMAGE = Path("/usr/bin/python3.11")


def measured(rounds: int) -> dict[str, list[float]]:
    """Seconds, of the command `strata build` and of a pod's container `fetch`; and of a bare interpreter to its end.

    Of each also the processor time up to then: on a machine that has other work to do it tells more.
    """
    with tempfile.TemporaryDirectory(dir=builders.SCRATCH) as folder, socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_PATIENCE)
        host = f"127.0.0.1:{server.getsockname()[1]}"
        cases = {"strata build": _command(Path(folder), host), "strata-pod fetch": _pod(Path(folder), host)}
        found: dict[str, list[float]] = {}
        for number in range(rounds + 1):
            taken = {name: _to_connection(argv(number), server, Path(folder)) for name, argv in cases.items()}
            taken["python alone"] = _to_end([_interpreter(), "-I", "-S", "-c", "pass"])
            for name, (wall, cpu) in taken.items() if number else ():  # the first compiles modules
                found.setdefault(name, []).append(wall)
                found.setdefault(f"{name}{CPU}", []).append(cpu)
    return found


def _interpreter() -> str:
    same = sys.version_info[:2] == (3, 11)  # the modules that are not Python are made for one version
    return str(_IN_THE_IMAGE) if same and _IN_THE_IMAGE.exists() else sys.executable


def _command(folder: Path, host: str) -> Callable[[int], Sequence[str]]:
    context = folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(_dockerfile(host))
    (context / "file").write_text("file\n")
    tag = f"{host}/start:1"
    flags = ["--insecure-registry", host, "--tag", tag, "--push", str(context)]
    return lambda _: [_interpreter(), *builders.command()[1:], "build", *flags]


def _pod(folder: Path, host: str) -> Callable[[int], Sequence[str]]:
    """Each time a new pod, as the kubelet would have it."""
    code = "from strata_builder import start; start.pod()"

    def argv(number: int) -> Sequence[str]:
        request = pods.request(host, dockerfile_inline=True, insecure_registries=(host,))
        pod = pods.Pod(folder / f"pod-{number}", request, {"file": "file\n"}, _dockerfile(host))
        pod.folder.mkdir()
        return [_interpreter(), *builders.python(code)[1:], "fetch", "--home", str(pod.home("fetch"))]

    return argv


def _dockerfile(host: str) -> str:
    return f"FROM {host}/base\nRUN true\nCOPY file /file\n"


def _to_connection(argv: Sequence[str], server: socket.socket, home: Path) -> tuple[float, float]:
    """Wall and processor time. The process is ended then: there is nothing behind the socket."""
    environment, quiet = {**os.environ, **builders.environment(home)}, subprocess.DEVNULL
    start = time.perf_counter()
    with subprocess.Popen(argv, stdout=quiet, stderr=quiet, env=environment) as process:
        try:
            server.accept()[0].close()
            return time.perf_counter() - start, _cpu(process.pid)
        finally:
            process.kill()
            process.wait()
            _forget(server)


def _forget(server: socket.socket) -> None:
    """The connections that an ended process has begun besides: they are not the next one's."""
    while select.select([server], [], [], 0)[0]:
        server.accept()[0].close()


def _cpu(pid: int) -> float:
    """Seconds that the threads of a process have run so far."""
    return sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _to_end(argv: Sequence[str]) -> tuple[float, float]:
    start, before = time.perf_counter(), os.times()
    subprocess.run(argv, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu
