"""`python -m bench.polling`: what it costs the operator to look at git sources, by way and as a share of a core.

A real git server answers, in a process of its own whose time is not counted. Processor time is that of this process and
of the programs that it starts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from strata_builder.context import credentials, gitref, gitremote
from strata_operator import addresses, metrics, names, queue, settings
from strata_operator.imagebuild import questions
from strata_operator.imagebuild.triggers import asking, git, poller, pools
from support import git_server

REPOSITORIES, INTERVAL = 5000, 300.0
_MADE = 8  # repositories that there are; each look is at another one than the last
_HERE = addresses.Filter.of(["127.0.0.0/8"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--looks", type=int, default=300)
    parser.add_argument("--branches", type=int, default=1000, help="of each repository")
    parser.add_argument("--seconds", type=float, default=60, help="for which pools are watched as they come")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        repository = git_server.Repository.make(root)
        repository.commit({"a": "1"})
        tip = git_server.git("rev-parse", "HEAD", cwd=repository.folder)
        (repository.bare / "packed-refs").write_text(
            "# pack-refs with: peeled fully-peeled sorted \n"
            + "".join(f"{tip} refs/heads/branch-{n:06}\n" for n in range(asked.branches))
        )
        for n in range(_MADE):
            shutil.copytree(repository.bare, root / f"app{n}.git")
        context, ca = git_server.server_tls(root / "tls")
        del context
        print(f"{asked.looks} looks each, {asked.branches} branches; {os.cpu_count()} processors")
        print(f"{'way':44} {'CPU ms a look':>14} {f'{REPOSITORIES} every {INTERVAL:.0f} s':>22}")
        for scheme in ("http", "https"):
            with _server(root, tls=scheme == "https") as port:
                url = f"{scheme}://127.0.0.1:{port}"
                _report(f"{scheme}, one host", _looks(url, asked.looks, ca))
                _report(f"{scheme}, a new connection for each", _looks(url, asked.looks, ca, anew=True))
                _report(f"{scheme}, by the git program", _programs(url, max(asked.looks // 10, 10), ca))
        for n in range(_MADE, REPOSITORIES):
            (root / f"app{n}.git").symlink_to(repository.bare)
        with _server(root, tls=True) as port:
            share, looks = _as_they_come(f"https://127.0.0.1:{port}", ca, asked.seconds)
        print(
            f"{REPOSITORIES} pools as they come, https: {looks} looks in {asked.seconds:.0f} s, {share:.2%} of a core"
        )
        _report_memory()


def _report(way: str, each: float) -> None:
    share = each * REPOSITORIES / INTERVAL
    print(f"{way:44} {each * 1000:14.2f} {share:15.2%} of a core", flush=True)


def _looks(url: str, count: int, ca: bytes, *, anew: bool = False) -> float:
    """Seconds of processor time that the poller spends on one of `count` looks, each at a pool of its own."""

    async def scene() -> float:
        frame: Any = SimpleNamespace(
            settings=settings.Settings("bench"), authorities=ca.decode(), closers=[], enqueue=lambda *_: None
        )
        asker, now = asking.Asker(frame, _HERE), [time.time()]
        made = poller.Poller(frame, asker, wake=lambda _key: None, clock=lambda: now[0])
        urls = [f"{url}/app{n}.git" for n in range(_MADE)]
        for n, at in enumerate(urls):
            made.watch(names.Key("team", f"web{n}"), pools.Interest(names.Key("team", f"web{n}"), at, "main", "", 60.0))

        async def look(n: int) -> None:
            if anew and asker._client._session is not None:
                await asker._client._session.close()
                asker._client._session = None
            now[0] += 120
            address, key = urls[n % len(urls)], names.Key("team", f"web{n % len(urls)}")
            made.hint(lambda _key, at: at == address)
            await made.poll(names.Key("", address))
            found = made.known(key, questions.Polled(address, "main", ""))
            if not isinstance(found, questions.Resolved) or found.checked != now[0]:
                raise RuntimeError(f"{address} was not asked: {found}")

        for n in range(_MADE):
            await look(n)  # contexts are made, modules imported
        found = await _processor_time(look, count)
        for close in frame.closers:
            await close()
        return found

    return asyncio.run(scene())


def _as_they_come(url: str, ca: bytes, seconds: float) -> tuple[float, int]:
    """The share of a core of a poller with all pools, its queue and its timers, and how many looks there were."""

    async def scene() -> tuple[float, int]:
        made: poller.Poller
        looks = 0

        async def poll(key: names.Key) -> float | None:
            return await made.poll(key)

        def woken(_key: names.Key) -> None:
            nonlocal looks
            looks += 1  # nobody's status says the commit, so that every look wakes

        work = queue.Queue(poller.KIND, poll, metrics.Metrics(), workers=16)
        frame: Any = SimpleNamespace(
            settings=settings.Settings("bench"),
            authorities=ca.decode(),
            closers=[],
            enqueue=lambda _kind, key, delay: work.add_after(key, delay),
        )
        made = poller.Poller(frame, asking.Asker(frame, _HERE), wake=woken)
        for n in range(REPOSITORIES):
            key = names.Key("team", f"web{n}")
            made.watch(key, pools.Interest(key, f"{url}/app{n}.git", "main", "", INTERVAL))
        task = asyncio.create_task(work.run())
        await asyncio.sleep(10)  # contexts are made, modules imported
        before, looks, began = time.process_time(), 0, time.monotonic()
        await asyncio.sleep(seconds)
        share = (time.process_time() - before) / (time.monotonic() - began)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for close in frame.closers:
            await close()
        return share, looks

    return asyncio.run(scene())


async def _processor_time(look: Callable[[int], Awaitable[None]], count: int) -> float:
    before = time.process_time()
    for n in range(count):
        await look(n)
    return (time.process_time() - before) / count


def _programs(url: str, count: int, ca: bytes) -> float:
    parsed, wanted = gitref.parse_url(f"{url}/app0.git"), gitremote.candidates("main")
    before = _all_time()
    for _ in range(count):
        git.listing(parsed, wanted, credentials.ANONYMOUS, admits=_HERE, ca=ca)
    return (_all_time() - before) / count


def _all_time() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _report_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = pools.Pools()
    for n in range(REPOSITORIES):
        key = names.Key("team", f"web{n}")
        kept.watch(pools.Interest(key, f"https://git.example/team/app{n}.git", "main", "", INTERVAL), time.time())
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"memory of {len(kept)} pools: {(after - before) / 1024:.1f} MiB")


@contextlib.contextmanager
def _server(root: Path, *, tls: bool) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    argv = [sys.executable, "-m", "support.git_server", str(root), "--port", str(port)]
    if tls:
        argv += ["--certificate", str(root / "tls" / "server.pem"), "--key", str(root / "tls" / "server.pem")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield port
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
