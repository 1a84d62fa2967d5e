"""PID 1 of the node: starts its programs, starts again those that end, and reaps what containerd's shims leave.

Run as a script, with the standard library alone, inside the node's namespaces: `python -I init.py _init NAME STATE`.
What to mount and to start is in STATE/init.json (see up.plan). When it is killed, the kernel kills every process of
the node and drops every mount.
"""

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

PAUSE_BEFORE_RESTART = 1.0
LOG_LIMIT = 32 << 20
"""Bytes that one program's log may reach on tmpfs; then it starts anew, and the old one is kept as NAME.log.1."""


class Supervisor:
    """The running programs.

    Processes are started by posix_spawn and reaped in one place: `subprocess` would take exits that are not its
    own.
    """

    def __init__(self, state: Path, environment: dict[str, str]) -> None:
        self.state = state
        self.environment = environment
        self.running: dict[int, tuple[str, list[str]]] = {}
        # Held while starting, so that a program that ends at once is already in the table when it is reaped.
        self.lock = threading.Lock()

    def start(self, name: str, argv: list[str]) -> None:
        """Starts one program with its log file."""
        log = str(self.state / "log" / f"{name}.log")
        actions: list[Any] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        with self.lock:
            pid = os.posix_spawn(argv[0], argv, self.environment, file_actions=actions, setsid=True)
            self.running[pid] = (name, argv)
        say(f"{name} started as {pid}")

    def reap(self) -> None:
        """Waits for ever for any child, and starts a program that ended again after a pause."""
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                time.sleep(0.1)
                continue
            with self.lock:
                ended = self.running.pop(pid, None)
            if ended:
                say(
                    f"{ended[0]} ended with {os.waitstatus_to_exitcode(status)};"
                    f" starting it again in {PAUSE_BEFORE_RESTART} s"
                )
                threading.Timer(PAUSE_BEFORE_RESTART, self.start, ended).start()


def say(text: str) -> None:
    """Writes one line to the log of PID 1."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def mount(mounts: list[list[str]]) -> None:
    """Makes the mounts, each given as arguments of mount(8); only this mount namespace sees them."""
    for arguments in mounts:
        target = Path(arguments[-1])
        if not target.exists():
            target.mkdir(parents=True)
        subprocess.run(["mount", *arguments], check=True)


def wait_for(url: str, authority: str) -> None:
    """Returns when an https URL answers 200 to an anonymous request."""
    parts = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=authority)
    while True:
        connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=2, context=context)
        try:
            connection.request("GET", parts.path)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass  # not there yet; up() gives up when it takes too long, and shows the logs
        finally:
            connection.close()
        time.sleep(0.05)


def start_stages(supervisor: Supervisor, stages: list[dict[str, Any]], authority: str) -> None:
    """Starts each stage when what it comes after is there."""
    for stage in stages:
        if stage["after"]:
            wait_for(stage["after"], authority)
        for name, argv in stage["programs"].items():
            supervisor.start(name, argv)


def keep_house(state: Path) -> None:
    """Opens new volumes to users other than root, as the provisioner does not, and bounds the logs."""
    opened: set[str] = set()
    while True:
        volumes = {entry.path for entry in os.scandir(state / "volumes") if entry.is_dir(follow_symlinks=False)}
        for folder in volumes - opened:
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                os.chmod(folder, 0o777)
        opened = volumes
        for log in (state / "log").glob("*.log"):
            if log.stat().st_size > LOG_LIMIT:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)
        time.sleep(0.2)


def main(state: Path) -> None:
    """Never returns."""
    plan = json.loads((state / "init.json").read_text())
    os.chdir(state)
    mount(plan["mounts"])
    supervisor = Supervisor(state, plan["environment"])
    for target, arguments in (
        (start_stages, (supervisor, plan["stages"], plan["authority"])),
        (keep_house, (state,)),
    ):
        threading.Thread(target=target, args=arguments, daemon=True).start()
    supervisor.reap()


if __name__ == "__main__":
    main(Path(sys.argv[3]))
