# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""The node proxy between real sockets: verified TLS, tables that change, limits."""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Callable

import pytest

from strata_operator import nodeproxy, nodetable
from strata_operator.registry import tls

pytestmark = pytest.mark.asyncio
CA = tls.make_ca("main", time.time())
OTHER = tls.make_ca("other", time.time())


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.asynccontextmanager
async def registry(tmp_path, name: str = "registry", ca: tls.Pair = CA):
    """A TLS server that says its name and repeats what it is told, in capitals; gives its port."""
    pair = tls.make_serving(ca, ["127.0.0.1"], time.time())
    (tmp_path / f"{name}.crt").write_text(pair.certificate)
    (tmp_path / f"{name}.key").write_text(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / f"{name}.crt", tmp_path / f"{name}.key")

    async def serve(reader, writer):
        with contextlib.suppress(OSError):
            writer.write(f"{name}\n".encode())
            while line := await reader.readline():
                if line == b"close\n":
                    break
                writer.write(line.upper())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, limit=1 << 20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def entry(port: int, ca: tls.Pair = CA) -> dict:
    return {"host": "127.0.0.1", "port": port, "caBundle": ca.certificate}


@contextlib.asynccontextmanager
async def following(tmp_path, table: dict, monkeypatch, **options):
    """A proxy that follows the table in a file; gives the proxy and a function that changes the table."""
    monkeypatch.setattr(nodeproxy, "_POLL_SECONDS", 0.02)
    path = tmp_path / "registries.json"

    def write(content) -> None:
        other = tmp_path / "next"
        other.write_text(content if isinstance(content, str) else json.dumps(content))
        other.replace(path)

    write(table)
    proxy = nodeproxy.Proxy(nodeproxy.Options(table=path, **options))
    task = asyncio.create_task(proxy.follow(path))
    try:
        await until(lambda: len(proxy.listeners) == len(table))
        yield proxy, write
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for listener in proxy.listeners.values():
            await listener.stop()


async def until(condition, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition is anybody's
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def connected(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def greeting(port: int) -> bytes:
    async with connected(port) as (reader, _):
        return await asyncio.wait_for(reader.readline(), 5)


async def test_bytes_pass_both_ways_and_the_end_comes_through(tmp_path, monkeypatch):
    async with registry(tmp_path) as upstream:
        port = free_port()
        async with following(tmp_path, {port: entry(upstream)}, monkeypatch), connected(port) as (reader, writer):
            assert await reader.readline() == b"registry\n"
            big = b"x" * 700_000 + b"\n"
            for _ in range(5):
                writer.write(big)
                await writer.drain()
                assert await reader.readline() == big.upper()
            writer.write(b"close\n")
            assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_registry_whose_certificate_is_of_another_authority_gets_no_byte(tmp_path, monkeypatch):
    async with registry(tmp_path, ca=OTHER) as upstream:
        port = free_port()
        async with following(tmp_path, {port: entry(upstream)}, monkeypatch), connected(port) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 502 Bad Gateway")
            assert b"cannot reach 127.0.0.1" in await reader.read()


async def test_registries_come_and_go_and_open_connections_stay(tmp_path, monkeypatch):
    async with registry(tmp_path, "one") as one, registry(tmp_path, "two") as two:
        first, second = free_port(), free_port()
        async with following(tmp_path, {first: entry(one)}, monkeypatch) as (proxy, write):
            async with connected(first) as (reader, writer):
                assert await reader.readline() == b"one\n"
                write({second: entry(two)})
                await until(lambda: set(proxy.listeners) == {second})
                assert await greeting(second) == b"two\n"
                writer.write(b"still there\n")
                assert await reader.readline() == b"STILL THERE\n"
            with pytest.raises(OSError, match="Connect"):
                await greeting(first)
            write({first: entry(two), second: entry(two)})
            await until(lambda: set(proxy.listeners) == {first, second})
            assert await greeting(first) == b"two\n"


@pytest.mark.parametrize(
    "broken",
    ["", "{", "[]", '{"80": {}}', '{"x": {}}', '{"5000": []}', '{"5000": {"host": "h", "port": "5000"}}', "null"],
)
async def test_a_table_that_cannot_be_used_leaves_ports_as_they_are(tmp_path, monkeypatch, broken):
    with pytest.raises(nodetable.TableError):
        nodetable.parse(broken)
    async with registry(tmp_path) as upstream:
        port = free_port()
        async with following(tmp_path, {port: entry(upstream)}, monkeypatch) as (_, write):
            write(broken)
            await asyncio.sleep(0.1)
            assert await greeting(port) == b"registry\n"


async def test_a_port_that_is_taken_is_opened_when_it_is_free_and_the_others_go_on(tmp_path, monkeypatch):
    async with registry(tmp_path) as upstream:
        taken, free = socket.create_server(("127.0.0.1", 0)), free_port()
        blocked = taken.getsockname()[1]
        async with following(tmp_path, {free: entry(upstream)}, monkeypatch) as (proxy, write):
            write({blocked: entry(upstream), free: entry(upstream)})
            await asyncio.sleep(0.1)
            assert await greeting(free) == b"registry\n"
            taken.close()
            await until(lambda: blocked in proxy.listeners)
            assert await greeting(blocked) == b"registry\n"


async def test_a_port_that_stays_taken_is_told_once_and_again_after_it_was_free(tmp_path, monkeypatch, caplog):
    def told() -> int:
        return sum(f"port {taken} to" in message for message in caplog.messages)

    async with registry(tmp_path) as upstream:
        taken, free = free_port(), free_port()
        async with following(tmp_path, {free: entry(upstream)}, monkeypatch) as (proxy, write):
            for times in (1, 2):
                with socket.socket() as other:
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    other.bind(("127.0.0.1", taken))
                    other.listen()
                    write({free: entry(upstream), taken: entry(upstream)})
                    await until(lambda: told() == times)  # noqa: B023  it is asked here alone
                    await asyncio.sleep(0.3)  # more than ten looks at the table
                    assert told() == times
                await until(lambda: len(proxy.listeners) == 2)
                write({free: entry(upstream)})
                await until(lambda: len(proxy.listeners) == 1)


async def test_connections_beyond_the_limit_are_refused_until_one_ends(tmp_path, monkeypatch):
    async with registry(tmp_path) as upstream:
        port = free_port()
        async with following(tmp_path, {port: entry(upstream)}, monkeypatch, connections=1):
            async with connected(port) as (reader, _):
                assert await reader.readline() == b"registry\n"
                with contextlib.suppress(ConnectionResetError):
                    assert await greeting(port) == b""
            async with asyncio.timeout(5):
                while True:
                    with contextlib.suppress(ConnectionResetError):
                        if await greeting(port) == b"registry\n":
                            break
                    await asyncio.sleep(0.02)


def clock_moves(monkeypatch) -> Callable[[float], None]:
    """Gives a function that lets the loop's clock leap: however slow the machine, no more passes than is said."""
    loop = asyncio.get_running_loop()
    real, leapt = loop.time, [0.0]
    monkeypatch.setattr(loop, "time", lambda: real() + leapt[0])

    def leap(seconds: float) -> None:
        leapt[0] += seconds

    return leap


async def test_a_connection_on_which_nothing_moves_is_closed(tmp_path, monkeypatch):
    leap = clock_moves(monkeypatch)
    async with registry(tmp_path) as upstream:
        port = free_port()
        async with (
            following(tmp_path, {port: entry(upstream)}, monkeypatch, idle_seconds=1000),
            connected(port) as (reader, writer),
        ):
            assert await reader.readline() == b"registry\n"
            for _ in range(4):
                leap(700)
                writer.write(b"x\n")
                assert await reader.readline() == b"X\n"
            leap(1001)
            assert await asyncio.wait_for(reader.read(), 5) == b""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRATA_PROXY_BIND", "0.0.0.0"),
        ("STRATA_PROXY_BIND", "10.0.0.1"),
        ("STRATA_PROXY_BIND", "localhost"),
        ("STRATA_PROXY_CONNECTIONS", "0"),
        ("STRATA_PROXY_IDLE_SECONDS", "soon"),
    ],
)
async def test_options_that_cannot_be_used_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}"):
        nodeproxy.options({name: value})


async def test_options_have_defaults_that_keep_other_machines_out():
    assert nodeproxy.options({}).bind == "127.0.0.1"
    assert nodeproxy.options({"STRATA_PROXY_BIND": "::1"}).bind == "::1"
