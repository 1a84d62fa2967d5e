# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""The probe against servers over real sockets: with and without TLS, passwords and manners."""

import base64
import contextlib
import http.server
import ssl
import threading
import time
from collections.abc import Iterator

import pytest

from strata_builder.registry.config import Credential
from strata_operator import addresses
from strata_operator.registry import probe, tls

pytestmark = pytest.mark.asyncio
GOOD = Credential("strata-operator", "right")


@contextlib.contextmanager
def serving(answer: int = 200, *, anonymous: int = 401, pair: tls.Pair | None = None, tmp=None) -> Iterator[str]:
    """A server that gives `answer` to whoever has the right password, and `anonymous` to all others; its host:port."""
    right = "Basic " + base64.b64encode(b"strata-operator:right").decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status = answer if self.headers.get("Authorization") == right else anonymous
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="strata"')
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if pair:
        (tmp / "crt").write_text(pair.certificate)
        (tmp / "key").write_text(pair.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp / "crt", tmp / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "anonymous", "credential", "expected"),
    [
        (200, 401, GOOD, ("", False)),
        (200, 200, GOOD, ("", True)),
        (200, 200, None, ("", True)),
        (200, 401, None, ("CredentialsRejected", False)),
        (200, 401, Credential("strata-operator", "wrong"), ("CredentialsRejected", False)),
        (403, 401, GOOD, ("CredentialsRejected", False)),
        (500, 401, GOOD, ("Unreachable", False)),
        (200, 404, GOOD, ("Unreachable", False)),
    ],
)
async def test_what_the_answers_mean(answer, anonymous, credential, expected):
    with serving(answer, anonymous=anonymous) as host:
        found = await probe.probe(probe.Target(host, insecure=True, credential=credential))
    assert (found.reason, found.anonymous) == expected
    assert "right" not in found.message
    assert "wrong" not in found.message


@pytest.mark.parametrize(("allowed", "reason"), [((), "AddressNotAllowed"), (("127.0.0.0/8",), "")])
async def test_a_host_inside_the_node_is_asked_only_if_an_administrator_allows_it(allowed, reason):
    hook = addresses.of_users(allowed, {}).hook
    with serving() as host:
        found = await probe.probe(probe.Target(host, insecure=True, credential=GOOD, connect_filter=hook))
    assert found.reason == reason


async def test_nobody_there_is_unreachable_and_says_where():
    with serving() as host:
        pass
    found = await probe.probe(probe.Target(host, insecure=True, credential=GOOD))
    assert found.reason == "Unreachable"
    assert host in found.message


async def test_a_certificate_of_our_authority_is_trusted_and_any_other_is_not(tmp_path):
    ca, other = tls.make_ca("main", time.time()), tls.make_ca("other", time.time())
    pair = tls.make_serving(ca, ["127.0.0.1"], time.time())
    with serving(pair=pair, tmp=tmp_path) as host:
        assert (await probe.probe(probe.Target(host, ca_bundle=ca.certificate, credential=GOOD))).reason == ""
        wrong = await probe.probe(probe.Target(host, ca_bundle=other.certificate, credential=GOOD))
        none = await probe.probe(probe.Target(host, credential=GOOD))
    assert (wrong.reason, none.reason) == ("TLSNotTrusted", "TLSNotTrusted")


async def test_a_certificate_for_another_name_is_not_trusted(tmp_path):
    ca = tls.make_ca("main", time.time())
    pair = tls.make_serving(ca, ["elsewhere"], time.time())
    with serving(pair=pair, tmp=tmp_path) as host:
        found = await probe.probe(probe.Target(host, ca_bundle=ca.certificate, credential=GOOD))
    assert found.reason == "TLSNotTrusted"
