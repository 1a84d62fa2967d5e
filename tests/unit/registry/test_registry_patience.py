"""A caller that has only so long: a peer that is never late for a single wait does not keep it for ever."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest

from strata_builder.oci import mediatypes
from strata_builder.registry import connect, errors, patience, retry
from strata_builder.registry.client import Registry
from support.certificates import Authority
from support.drips import BEGINNINGS, Drips
from support.fake_registry import FakeRegistry

REPO = "team/app"
PATIENCE = 0.4
MUCH = 5.0  # seconds: less than any of the servers here would take
TIMEOUTS = connect.Timeouts(connect=2.0, read=2.0)


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """What a registry fails with there, and when."""
    began = time.monotonic()
    with patience.within(PATIENCE), pytest.raises(errors.Unavailable, match="no answer in time"):
        yield
    assert time.monotonic() - began < MUCH


def registry(host: str, *, ca: bytes | None = None) -> contextlib.closing[Registry]:
    made = Registry(host, insecure=ca is None, ca=ca, timeouts=TIMEOUTS, policy=retry.Policy(attempts=1))
    return contextlib.closing(made)


@pytest.mark.parametrize("where", BEGINNINGS)
@pytest.mark.parametrize("secure", [False, True])
def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(tmp_path, where, secure):
    authority = Authority()
    ca, context = (authority.pem, served(tmp_path, authority)) if secure else (None, None)
    with Drips(BEGINNINGS[where], context) as drips, registry(drips.host, ca=ca) as asked, in_time():
        asked.manifest(REPO, "latest")


@pytest.mark.parametrize("secure", [False, True])
def test_a_peer_that_reads_byte_by_byte_is_not_waited_for(tmp_path, secure):
    authority = Authority()
    ca, context = (authority.pem, served(tmp_path, authority)) if secure else (None, None)
    with sipping(context) as host, registry(host, ca=ca) as asked, in_time():
        asked.put_manifest(REPO, "latest", b"{" + b" " * 4_000_000 + b"}", mediatypes.OCI_MANIFEST)


def test_a_name_with_many_addresses_that_do_not_answer_is_given_up(monkeypatch):
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=0)))
        for _ in range(2):  # who comes now is not answered
            waits = stack.enter_context(socket.socket())
            waits.setblocking(False)
            waits.connect_ex(full.getsockname())
        one = (socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname())
        monkeypatch.setattr(connect, "_resolved", lambda _host, _port: [one] * 1000)
        asked = stack.enter_context(registry(f"127.0.0.1:{full.getsockname()[1]}"))
        with in_time():
            asked.manifest(REPO, "latest")


def test_all_requests_of_a_caller_have_one_time_and_the_next_caller_has_his_own():
    with FakeRegistry() as fake, registry(fake.host) as asked:
        digest = fake.add_manifest(REPO, b'{"schemaVersion": 2}', mediatypes.OCI_MANIFEST, "latest")
        with in_time():
            while True:
                assert asked.manifest(REPO, "latest").digest == digest
                time.sleep(PATIENCE / 3)
        with patience.within(PATIENCE):
            assert asked.manifest(REPO, "latest").digest == digest
        assert asked.manifest(REPO, "latest").digest == digest
        assert len({seen.path for seen in fake.requests("GET")}) == 1


def served(tmp_path, authority: Authority) -> ssl.SSLContext:
    leaf, context = authority.leaf(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "leaf.pem").write_bytes(leaf.certificate + leaf.key)
    context.load_cert_chain(tmp_path / "leaf.pem")
    return context


@contextlib.contextmanager
def sipping(context: ssl.SSLContext | None) -> Iterator[str]:
    """A server that takes what it is sent slowly enough to have it wait, and too quickly for any time-out."""
    over = threading.Event()

    def sip() -> None:
        sock, _ = listener.accept()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) if context else sock as peer:
            while not over.wait(0.05) and peer.recv(1024):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=sip)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()
