"""The client against a registry over real sockets that misbehaves in every way we know of."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import socket
import threading

import pytest

from strata_builder import errors as build_errors
from strata_builder.engine import images
from strata_builder.oci import digest, image, mediatypes
from strata_builder.oci import errors as oci_errors
from strata_builder.oci.image import Descriptor, History, Image, LayerRef
from strata_builder.oci.manifest import Index, Manifest
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.registry import connect, errors, pull, push, retry
from strata_builder.registry.client import Registry
from strata_builder.registry.config import Credential, DockerConfig
from strata_builder.registry.mirrors import Mirrors
from strata_builder.registry.proxies import Proxies
from strata_builder.registry.registries import Registries, Settings
from support.fake_registry import Answer, CloseAfter, Corrupt, FakeRegistry, Lose, Seen, Truncate
from support.liar import Liar
from support.token_server import SERVICE, TokenServer

AMD64 = Platform.parse("linux/amd64")
DATA = bytes(range(256)) * 8192  # 2 MiB
ALICE = Credential("alice", "s3:cr$t pä")
UPLOADS, REPO = "/blobs/uploads/", "team/app"


class Waits(list[float]):
    """Records how long the client would have slept."""

    def policy(self, **more) -> retry.Policy:
        return retry.Policy(sleep=self.append, jitter=lambda: 1.0, **more)


@pytest.fixture
def fake():
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
def client(waits):
    """Makes clients that are closed in the end."""
    with contextlib.ExitStack() as stack:

        def make(host: str, *, insecure: bool = True, policy: retry.Policy | None = None, **more) -> Registry:
            return stack.enter_context(
                contextlib.closing(Registry(host, insecure=insecure, policy=policy or waits.policy(), **more))
            )

        yield make


@pytest.fixture
def registry(fake, client):
    return client(fake.host)


@pytest.fixture
def registries(waits):
    with contextlib.ExitStack() as stack:

        def make(*insecure: str, mirrors: tuple[tuple[str, str], ...] = ()) -> Registries:
            settings = Settings(insecure=insecure, mirrors=Mirrors.parse(mirrors), policy=waits.policy(attempts=1))
            return stack.enter_context(Registries(settings))

        yield make


def descriptor(data: bytes = DATA) -> Descriptor:
    return Descriptor(mediatypes.OCI_LAYER, digest.of(data), len(data))


def an_image(*layers: bytes) -> Image:
    made = Image.scratch(AMD64)
    for data in layers:
        made = made.append(LayerRef(descriptor(data), digest.of(data)), History(created_by="COPY"))
    return made


def at_hand(*layers: bytes):
    known = {digest.of(data): data for data in layers}
    return lambda d: (lambda: io.BytesIO(known[d.digest])) if d.digest in known else None


def any_login(seen: Seen) -> Answer | None:
    return None if "authorization" in seen.headers else Answer(401, headers={"WWW-Authenticate": "Basic"})


def upload(registry: Registry, data: bytes = DATA, **more) -> bool:
    return registry.upload_blob(REPO, descriptor(data), lambda: io.BytesIO(data), **more)


# Locations -----------------------------------------------------------------------------------------------------------

LOCATIONS = {
    "absolute": lambda host, path: f"http://{host}{path}",
    "path only": lambda host, path: path,
    "another name of the host": lambda host, path: f"http://localhost:{host.partition(':')[2]}{path}",
}


@pytest.mark.parametrize("style", LOCATIONS)
def test_an_upload_follows_the_location_to_the_letter(fake, registry, style):
    fake.location = LOCATIONS[style]
    assert upload(registry) is True
    assert fake.blobs[REPO][digest.of(DATA)] == DATA


def test_an_upload_location_at_another_origin_gets_no_credentials(fake, client):
    fake.location = LOCATIONS["another name of the host"]
    fake.users = {"alice": ALICE.password}
    fake.authorise = lambda seen: None if seen.method == "PUT" else any_login(seen)
    upload(client(fake.host, credentials=ALICE))
    (put,) = fake.requests("PUT")
    assert "authorization" not in put.headers
    assert fake.requests("POST")[-1].headers["authorization"]


def test_a_login_wanted_at_the_other_origin_is_explained(fake, client):
    fake.location = LOCATIONS["another name of the host"]
    fake.authorise = any_login
    with pytest.raises(errors.Unauthorized, match="credentials are for") as caught:
        upload(client(fake.host, credentials=ALICE))
    assert "http.host" in caught.value.hint


def relay(server: socket.socket, seen: list[bytes]) -> None:
    """A proxy that takes one connection: CONNECT is tunnelled, anything else is sent on as it came."""
    peer, _ = server.accept()
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += peer.recv(1)
    seen.append(head)
    target = head.split()[1].removeprefix(b"http://").partition(b"/")[0].decode()
    with peer, socket.create_connection((target.partition(":")[0], int(target.partition(":")[2]))) as onward:
        if head.startswith(b"CONNECT"):
            peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            onward.sendall(head.replace(b"http://" + target.encode(), b""))
        back = threading.Thread(target=pump, args=(onward, peer), daemon=True)
        back.start()
        pump(peer, onward)
        back.join(5)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(("insecure", "first"), [(True, b"GET http://reg.test:"), (False, b"CONNECT reg.test:")])
def test_a_proxy_is_used_with_its_password(fake, client, insecure, first):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        seen: list[bytes] = []

        def refuse() -> None:
            peer, _ = server.accept()
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += peer.recv(1)
            seen.append(head)
            peer.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            peer.close()

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        url = f"http://user:p%40ss@127.0.0.1:{server.getsockname()[1]}"
        through = client(
            "reg.test:5000", insecure=insecure, proxies=Proxies(http=url, https=url), policy=retry.Policy(attempts=1)
        )
        with pytest.raises(errors.RegistryError, match="407") as caught:
            through.ping()
        thread.join(5)
    assert seen[0].startswith(first)
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz" in seen[0]
    assert "p@ss" not in str(caught.value)


def test_an_image_comes_through_an_http_proxy(fake, client, monkeypatch):
    fake.add_blob(REPO, DATA)
    monkeypatch.setattr("strata_builder.registry.addresses.is_loopback", lambda host: False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        seen: list[bytes] = []
        thread = threading.Thread(target=relay, args=(server, seen), daemon=True)
        thread.start()
        through = client(fake.host, proxies=Proxies(http=f"http://127.0.0.1:{server.getsockname()[1]}"))
        with through.blob(REPO, digest.of(DATA), len(DATA)) as reader:
            assert reader.read() == DATA
        through.close()
        thread.join(5)
    assert seen[0].startswith(f"GET http://{fake.host}/v2/".encode())


@pytest.mark.parametrize("location", ["", "ftp://x/y", "http://[::1/", "/a b"])
def test_a_hostile_location_ends_the_upload(fake, registry, location):
    fake.location = lambda host, path: location
    with pytest.raises(errors.ProtocolError):
        upload(registry)


# Retries of uploads --------------------------------------------------------------------------------------------------


def test_every_retry_of_an_upload_sends_the_whole_body_again(fake, waits, client):
    fake.users = {"alice": ALICE.password}
    refused = Answer(401, headers={"WWW-Authenticate": fake.challenge})
    fake.fault("PUT", UPLOADS, refused, Answer(503, headers={"Retry-After": "1"}), CloseAfter(100_000))
    fake.fault("PUT", "/manifests/", Answer(429, headers={"Retry-After": "3"}), Answer(429))
    registry = client(fake.host, credentials=ALICE)
    made = an_image(DATA)
    push.push_image(registry, REPO, made, at_hand(DATA))
    assert fake.blobs[REPO][digest.of(DATA)] == DATA
    assert fake.manifests[REPO][made.digest][0] == made.manifest_bytes()
    assert [put.sent for put in fake.requests("PUT", UPLOADS)][:4] == [len(DATA), len(DATA), 100_000, len(DATA)]
    assert waits[0] == 1.0
    assert waits[2:] == [3.0, 1.0]
    assert fake.unused_faults() == 0


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500),
        Answer(502, b"<html>"),
        Answer(504),
        Answer(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'),
        Answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}'),
        Answer(416),
        CloseAfter(0),
        CloseAfter(1 << 20),
        Lose(),
    ],
)
def test_an_upload_survives(fake, registry, fault):
    fake.fault("PUT", UPLOADS, fault)
    upload(registry)
    assert fake.blobs[REPO][digest.of(DATA)] == DATA
    sessions = {put.path for put in fake.requests("PUT", UPLOADS)}
    assert len(sessions) == len(fake.requests("PUT", UPLOADS)), "a used session was used again"


def test_a_lost_answer_is_cleared_up_by_looking_and_not_by_sending_again(fake, registry):
    fake.fault("PUT", UPLOADS, Lose())
    upload(registry)
    assert len(fake.requests("PUT", UPLOADS)) == 1


@pytest.mark.parametrize(("status", "kind"), [(403, errors.Denied), (400, errors.Rejected), (413, errors.TooLarge)])
def test_a_refusal_is_heard_though_the_registry_stops_reading(fake, registry, status, kind):
    big = b"x" * (32 << 20)
    fake.fault("PUT", UPLOADS, Answer(status, b"no", read=False))
    with pytest.raises(kind):
        upload(registry, big)
    assert len(fake.requests("PUT")) == 1


def test_an_upload_gives_up_after_bounded_tries(fake, waits, client):
    fake.fault("PUT", UPLOADS, *[Answer(503)] * 50)
    with pytest.raises(errors.Unavailable, match="503"):
        upload(client(fake.host, policy=waits.policy(attempts=4)))
    assert len(fake.requests("PUT")) == 4
    assert waits == [0.5, 1.0, 2.0]


def test_a_read_only_registry_is_named_and_not_pestered(fake, registry, waits):
    fake.fault("POST", UPLOADS, Answer(405, b"Method not allowed\n"))
    with pytest.raises(errors.ReadOnly) as caught:
        upload(registry)
    assert caught.value.retryable
    assert waits == []


def test_a_source_that_changed_is_found_before_the_registry_gets_its_last_byte(fake, registry):
    with pytest.raises(errors.DigestMismatch, match="the blob to push"):
        registry.upload_blob(REPO, descriptor(), lambda: io.BytesIO(b"x" * len(DATA)))
    assert REPO not in fake.blobs


def test_an_empty_blob_is_pushed(fake, registry):
    assert upload(registry, b"") is True
    assert fake.blobs[REPO][digest.EMPTY] == b""


def test_what_is_there_is_not_sent(fake, registry):
    fake.add_blob(REPO, DATA)
    assert upload(registry) is False
    assert fake.requests("POST") == []


def test_a_blob_of_the_wrong_length_counts_as_absent(fake, registry):
    fake.blobs[REPO] = {digest.of(DATA): DATA[:-1]}
    assert upload(registry) is True
    assert fake.blobs[REPO][digest.of(DATA)] == DATA


# Mounts --------------------------------------------------------------------------------------------------------------


def test_a_mount_moves_no_byte(fake, registry):
    fake.add_blob("base", DATA)
    assert upload(registry, mount_from="base") is False
    assert fake.blobs[REPO][digest.of(DATA)] == DATA
    assert registry.totals.bytes_up == 0


def test_a_mount_that_opens_a_session_uses_it(fake, registry):
    fake.mounts = False
    assert upload(registry, mount_from="base") is True
    assert len(fake.requests("POST")) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500])
def test_a_refused_mount_becomes_a_plain_upload(fake, registry, status):
    fake.fault("POST", "mount=", Answer(status))
    assert upload(registry, mount_from="secret") is True
    assert "mount" not in fake.requests("POST")[-1].query


def test_a_failed_mount_alone_leaves_no_session(fake, registry):
    assert registry.mount_blob(REPO, digest.of(DATA), "base") is False
    assert fake.uploads == {}


# Downloads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_the_connection_broke(fake, registry, waits, ranges):
    fake.ranges = ranges
    fake.add_blob(REPO, DATA)
    fake.fault("GET", "/blobs/", Truncate(700_001), Truncate(10 if ranges else 900_000), CloseAfter())
    with registry.blob(REPO, digest.of(DATA), len(DATA)) as reader:
        assert reader.read() == DATA
    assert [g.headers.get("range") for g in fake.requests("GET")][:2] == [None, "bytes=700001-"]
    assert waits == [0.5, 0.5, 1.0]


def test_a_download_without_progress_ends(fake, registry, waits):
    fake.add_blob(REPO, DATA)
    fake.fault("GET", "/blobs/", *[Truncate(0)] * 20)
    with registry.blob(REPO, digest.of(DATA), len(DATA)) as reader, pytest.raises(errors.Unavailable, match="early"):
        reader.read()
    assert len(waits) == 5


def test_damaged_bytes_are_never_taken_for_the_blob(fake, registry):
    fake.add_blob(REPO, DATA)
    fake.fault("GET", "/blobs/", Corrupt())
    with registry.blob(REPO, digest.of(DATA), len(DATA)) as reader, pytest.raises(errors.DigestMismatch) as caught:
        reader.read()
    assert (caught.value.host, caught.value.repository) == (fake.host, REPO)


def test_a_resumed_download_of_changed_bytes_is_found_out(fake, registry):
    fake.add_blob(REPO, DATA)
    fake.fault("GET", "/blobs/", Truncate(1000), Corrupt())
    with registry.blob(REPO, digest.of(DATA), len(DATA)) as reader, pytest.raises(errors.DigestMismatch):
        reader.read()


def test_a_server_that_answers_another_range_is_not_believed(fake, registry):
    fake.add_blob(REPO, DATA)
    wrong = Answer(206, DATA[5:], {"Content-Range": f"bytes 5-{len(DATA) - 1}/{len(DATA)}"})
    fake.fault("GET", "/blobs/", Truncate(1000), wrong)
    with (
        registry.blob(REPO, digest.of(DATA), len(DATA)) as reader,
        pytest.raises(errors.ProtocolError, match="another range"),
    ):
        reader.read()


def test_a_length_that_cannot_be_right_is_refused_before_reading(fake, registry):
    fake.blobs[REPO] = {digest.of(DATA): DATA[:100]}
    with pytest.raises(errors.DigestMismatch, match="2097152 bytes, but the registry gives 100"):
        registry.blob(REPO, digest.of(DATA), len(DATA))


def test_a_missing_blob_is_known_at_once(fake, registry):
    with pytest.raises(errors.NotFound, match=f"{fake.host}/{REPO}"):
        registry.blob(REPO, digest.of(DATA), len(DATA))


def test_a_redirect_to_storage_is_followed_without_credentials(fake, client):
    fake.users = {"alice": ALICE.password}
    fake.add_blob(REPO, DATA)
    with FakeRegistry() as storage:
        storage.add_blob("bucket", DATA)
        there = f"http://{storage.host}/v2/bucket/blobs/{digest.of(DATA)}?X-Signature=s3cret"
        registry = client(fake.host, credentials=ALICE)
        registry.ping()
        fake.fault("GET", "/blobs/", Answer(307, headers={"Location": there}))
        assert registry.blob(REPO, digest.of(DATA), len(DATA)).read() == DATA
        assert "authorization" not in storage.seen[0].headers
        fake.fault("GET", "/blobs/", Answer(307, headers={"Location": there}))
        storage.fault("GET", "/blobs/", Answer(403, b"<Error/>"))
        with pytest.raises(errors.Denied) as caught:
            registry.blob(REPO, digest.of(DATA), len(DATA))
    assert "s3cret" not in f"{caught.value}{caught.value.url}"


def test_redirects_in_a_circle_end(fake, registry):
    fake.fault("GET", "/blobs/", *[Answer(302, headers={"Location": f"/v2/{REPO}/blobs/{digest.of(DATA)}"})] * 20)
    with pytest.raises(errors.ProtocolError, match="circle"):
        registry.blob(REPO, digest.of(DATA), len(DATA))


# Login ---------------------------------------------------------------------------------------------------------------


def test_a_wrong_password_ends_in_one_clear_error(fake, client):
    fake.users = {"alice": ALICE.password}
    registry = client(fake.host, credentials=Credential("alice", "wr0ng"))
    with pytest.raises(errors.Unauthorized, match=f"authentication failed for {fake.host}") as caught:
        registry.manifest(REPO, "latest")
    assert "wr0ng" not in str(caught.value)
    assert f"docker login {fake.host}" in str(caught.value)
    assert len(fake.seen) == 2
    assert registry.ping().authorised is False


def test_no_credentials_says_so(fake, registry):
    fake.users = {"alice": "x"}
    with pytest.raises(errors.Unauthorized, match="no credentials for"):
        registry.manifest(REPO, "latest")
    assert registry.ping().schemes == ("basic",)


def bearer(tokens: TokenServer):
    """What a registry does with tokens: pull and push need theirs."""

    def authorise(seen):
        path = seen.path.partition("?")[0].removeprefix("/v2/")
        name = next(
            (path.partition(f"/{kind}/")[0] for kind in ("blobs", "manifests", "tags") if f"/{kind}/" in path), ""
        )
        action = "pull" if seen.method in ("GET", "HEAD") else "push"
        granted = tokens.issued.get(seen.headers.get("authorization", "").removeprefix("Bearer "))
        if granted is not None and (not name or any(a["name"] == name and action in a["actions"] for a in granted)):
            return None
        extra = ',error="insufficient_scope"' if granted is not None else ""
        wanted = f'Bearer realm="{tokens.realm}",service="{SERVICE}",scope="repository:{name}:{action}"{extra}'
        return Answer(401, headers={"WWW-Authenticate": wanted})

    return authorise


def test_an_image_is_pushed_and_pulled_with_tokens(fake, client):
    with TokenServer({"alice": ALICE.password}) as tokens:
        fake.authorise = bearer(tokens)
        registry = client(fake.host, credentials=ALICE)
        push.push_image(registry, REPO, an_image(DATA, b"two"), at_hand(DATA, b"two"))
        assert registry.blob(REPO, digest.of(DATA), len(DATA)).read() == DATA
        assert len(tokens.asked) <= 4
        assert {user for user, _ in tokens.asked} == {"alice"}


def test_a_server_that_grants_less_is_not_asked_forever(fake, client):
    with TokenServer({"alice": ALICE.password}, policy=lambda user, name, asked: asked - {"push"}) as tokens:
        fake.authorise = bearer(tokens)
        registry = client(fake.host, credentials=ALICE)
        with pytest.raises(errors.Denied, match=r"push blob|start an upload"):
            upload(registry)
        assert len(fake.requests("POST")) <= 2


def test_an_anonymous_token_is_enough_for_what_is_public(fake, client):
    with TokenServer({}) as tokens:
        tokens.field, tokens.life = "access_token", None
        fake.authorise = bearer(tokens)
        fake.add_blob(REPO, DATA)
        registry = client(fake.host)
        assert registry.blob(REPO, digest.of(DATA), len(DATA)).read() == DATA
        assert tokens.asked[0] == ("", (f"repository:{REPO}:pull",))


# Manifests -----------------------------------------------------------------------------------------------------------


def test_a_manifest_is_verified_against_what_was_asked_and_what_was_said(fake, registry):
    made = an_image()
    fake.add_manifest(REPO, made.manifest_bytes(), made.manifest.media_type, "v1")
    assert registry.manifest(REPO, "v1") == (made.manifest_bytes(), mediatypes.OCI_MANIFEST, made.digest)
    fake.fault("GET", "/manifests/", Corrupt(), Corrupt())
    for version in ("v1", made.digest):
        with pytest.raises(errors.DigestMismatch):
            registry.manifest(REPO, version)


def test_head_falls_back_to_get_where_the_registry_gives_no_digest(fake, registry):
    made = an_image()
    fake.digest_header = False
    fake.add_manifest(REPO, made.manifest_bytes(), made.manifest.media_type, "v1")
    found = registry.head_manifest(REPO, "v1")
    assert found is not None
    assert (found.digest, found.size) == (made.digest, len(made.manifest_bytes()))
    assert registry.head_manifest(REPO, "v2") is None


def test_a_huge_manifest_is_not_read(fake, registry):
    fake.fault("GET", "/manifests/", Answer(200, b"{" + b" " * (5 << 20), {"Content-Type": mediatypes.OCI_MANIFEST}))
    with pytest.raises(errors.ProtocolError, match="more than 4194304"):
        registry.manifest(REPO, "v1")
    with pytest.raises(errors.TooLarge):
        registry.put_manifest(REPO, "v1", b" " * (5 << 20), mediatypes.OCI_MANIFEST)


@pytest.mark.parametrize(("status", "kind"), [(400, errors.Rejected), (403, errors.Denied), (404, errors.NotFound)])
def test_a_refused_manifest_is_not_sent_again(fake, registry, status, kind):
    fake.fault("PUT", "/manifests/", *[Answer(status)] * 9)
    with pytest.raises(kind):
        registry.put_manifest(REPO, an_image().digest, an_image().manifest_bytes(), mediatypes.OCI_MANIFEST)
    assert len(fake.requests("PUT")) == 1


def test_an_immutable_tag_is_fine_if_it_is_the_same_image(fake, registry):
    made, other = an_image(), an_image(b"x")
    for blob in (made.config_bytes(), other.config_bytes(), b"x"):
        fake.add_blob(REPO, blob)
    push.put(registry, REPO, "v1", made.manifest_bytes(), made.manifest.media_type)
    fake.immutable_tags = True
    assert push.put(registry, REPO, "v1", made.manifest_bytes(), made.manifest.media_type).digest == made.digest
    with pytest.raises(errors.TagImmutable, match="v1"):
        push.put(registry, REPO, "v1", other.manifest_bytes(), other.manifest.media_type)


def test_blobs_that_a_collection_took_are_sent_again_without_asking(fake, registry):
    fake.add_blob(REPO, DATA)
    lost = json.dumps({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "detail": {"digest": digest.of(DATA)}}]}).encode()
    fake.fault("PUT", "/manifests/", Answer(400, lost))
    made = an_image(DATA)
    push.push_image(registry, REPO, made, at_hand(DATA))
    assert len(fake.requests("HEAD", digest.of(DATA))) == 1
    assert [p.sent for p in fake.requests("PUT", UPLOADS)].count(len(DATA)) == 1


def test_blobs_that_are_nowhere_are_listed_before_anything_names_them(fake, registry):
    made = an_image(DATA, b"two", b"three")
    with pytest.raises(errors.BlobsUnknown) as caught:
        push.push_image(registry, REPO, made, at_hand(b"two"))
    assert set(caught.value.digests) == {digest.of(DATA), digest.of(b"three")}
    assert fake.requests("PUT", "/manifests/") == []


def test_an_image_is_pushed_in_an_order_that_never_shows_a_half(fake, registry):
    made = an_image(DATA, b"two", DATA)
    done = push.push_image(registry, REPO, made, at_hand(DATA, b"two"))
    assert done == Descriptor(mediatypes.OCI_MANIFEST, made.digest, len(made.manifest_bytes()))
    puts = [p.path for p in fake.requests("PUT")]
    assert "/manifests/sha256:" in puts[-1]
    assert made.config_descriptor.digest.partition(":")[2] in puts[-2]
    assert len(puts) == 4
    assert list(fake.manifests[REPO]) == [made.digest]


def test_the_base_is_mounted_and_not_sent(fake, registry):
    fake.add_blob("base", DATA)
    push.push_image(registry, REPO, an_image(DATA, b"new"), at_hand(b"new"), mount_from={digest.of(DATA): "base"})
    assert registry.totals.bytes_up < 2000


def test_a_push_that_somebody_overtook_is_noticed(fake, registry):
    made = an_image()
    fake.add_blob(REPO, made.config_bytes())
    fake.fault(
        "HEAD",
        "/manifests/v1",
        Answer(200, b"x" * 10, {"Docker-Content-Digest": digest.of(b"x"), "Content-Type": mediatypes.OCI_MANIFEST}),
    )
    with pytest.raises(errors.DigestMismatch, match="somebody else pushed"):
        push.put(registry, REPO, "v1", made.manifest_bytes(), made.manifest.media_type)


def test_the_first_failure_of_several_uploads_is_raised(fake, registry):
    layers = [bytes([n]) * 100 for n in range(20)]
    fake.fault("PUT", UPLOADS, Answer(403))
    with pytest.raises(errors.Denied):
        push.push_image(registry, REPO, an_image(*layers), at_hand(*layers), workers=3)
    assert fake.requests("PUT", "/manifests/") == []


def test_tags_are_listed_over_all_pages(fake, registry):
    names = [f"t{n:03}" for n in range(25)]
    fake.add_manifest(REPO, an_image().manifest_bytes(), mediatypes.OCI_MANIFEST, *names)
    fake.page_size = 10
    assert list(registry.tags(REPO)) == names
    assert list(registry.tags(REPO)) == names
    with pytest.raises(errors.NotFound):
        list(registry.tags("nobody/knows"))


def test_a_list_that_goes_on_at_another_host_is_refused(fake, registry):
    fake.fault("GET", "/tags/", Answer(200, b'{"tags":["a"]}', {"Link": '<http://evil.example/v2/x>; rel="next"'}))
    with pytest.raises(errors.ProtocolError, match="another host"):
        list(registry.tags(REPO))


@pytest.mark.parametrize("listed", [b"5", b"true", b'"ab"', b'{"a": 1}', b"null", b"[1, null, {}]"])
def test_a_list_of_something_else_is_an_empty_one(fake, registry, listed):
    body = b'{"tags": %b, "manifests": %b}' % (listed, listed.replace(b", {}", b""))
    for pattern in ("/tags/", "/referrers/"):
        fake.fault("GET", pattern, Answer(200, body))
    assert list(registry.tags(REPO)) == []
    assert registry.referrers(REPO, digest.of(DATA)) == ()


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".invalid", ".", "-" * 300])
def test_a_redirect_to_what_is_no_host_name_is_an_error_of_the_registry(fake, client, host):
    fake.fault("GET", "/blobs/", Answer(307, headers={"Location": f"http://{host}/x"}))
    with pytest.raises(errors.Unavailable, match="cannot connect to"):
        client(fake.host, policy=retry.Policy(attempts=1)).blob(REPO, digest.of(DATA), len(DATA))


@pytest.mark.parametrize("chunks", [b"5;" + b"x" * 70_000, b"-5\r\nabc", b"zz\r\n", b"3\r\nabcdef", b""])
@pytest.mark.parametrize("status", [b"204 x", b"304 x", b"200 x"])
def test_chunks_of_nonsense_are_an_error_of_the_registry_whatever_the_status(client, status, chunks):
    with Liar() as liar:
        liar.begin(lambda _: (b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, False))
        with pytest.raises(errors.RegistryError):
            client(liar.host, policy=retry.Policy(attempts=1)).manifest(REPO, "1")


def test_a_manifest_is_deleted_once(fake, registry):
    fake.add_manifest(REPO, an_image().manifest_bytes(), mediatypes.OCI_MANIFEST, "v1")
    assert registry.delete_manifest(REPO, an_image().digest) is True
    assert registry.delete_manifest(REPO, an_image().digest) is False


@pytest.mark.parametrize("api", [True, False])
def test_referrers_are_found_with_and_without_the_api(fake, registry, api):
    fake.referrers = api
    subject = an_image()
    push.push_image(registry, REPO, subject, at_hand())
    fake.add_blob(REPO, b"{}")
    empty = Descriptor(mediatypes.OCI_EMPTY, digest.of(b"{}"), 2)
    about = Descriptor(mediatypes.OCI_MANIFEST, subject.digest, len(subject.manifest_bytes()))
    attached = [
        Manifest(empty, (), annotations=(("n", str(n)),), subject=about, artifact_type=f"test/{n}") for n in range(2)
    ]
    for item in (*attached, attached[0]):
        push.push_referrer(registry, REPO, item)
    assert {r.artifact_type for r in registry.referrers(REPO, subject.digest)} == {"test/0", "test/1"}
    assert len(registry.referrers(REPO, subject.digest, artifact_type="test/1")) == 1
    assert registry.referrers(REPO, digest.of(b"other")) == ()


# Resolving -----------------------------------------------------------------------------------------------------------


def stored(fake: FakeRegistry, repository: str, made: Image, *tags: str) -> str:
    fake.add_blob(repository, made.config_bytes())
    return fake.add_manifest(repository, made.manifest_bytes(), made.manifest.media_type, *tags)


def test_a_platform_is_resolved_through_an_index(fake, registries):
    images = [Image.scratch(Platform.parse(p)) for p in ("linux/amd64", "linux/arm64")]
    for made in images:
        stored(fake, REPO, made)
    index = fake.add_manifest(REPO, image.index_of(images).to_bytes(), mediatypes.OCI_INDEX, "v1")
    reference = Reference.parse(f"{fake.host}/{REPO}:v1")
    found = pull.resolve_image(reference, Platform.parse("linux/arm64"), registries(fake.host))
    assert (found.index_digest, found.manifest_digest) == (index, images[1].digest)
    assert found.image == images[1]
    with pytest.raises(oci_errors.PlatformMissing, match="linux/amd64, linux/arm64"):
        pull.resolve_image(reference, Platform.parse("linux/s390x"), registries(fake.host))


def test_mirrors_are_asked_in_order_and_the_upstream_last(fake, registries):
    with FakeRegistry() as empty, FakeRegistry() as damaged:
        made = an_image()
        stored(fake, "hub/library/x", made, "1")
        stored(damaged, "library/x", made, "1")
        damaged.fault("GET", "/blobs/", Corrupt())
        mirrors = (
            ("docker.io", f"http://{empty.host}"),
            ("docker.io", f"http://{damaged.host}"),
            ("docker.io", f"http://{fake.host}/hub"),
        )
        found = pull.resolve_image(Reference.parse("x:1"), AMD64, registries(mirrors=mirrors))
        assert (found.registry.host, found.repository) == (fake.host, "hub/library/x")
        assert empty.seen
        assert damaged.seen


@pytest.mark.parametrize("fault", [Answer(404), Answer(401), Answer(403), Answer(503), CloseAfter(0)])
def test_a_layer_that_a_mirror_does_not_give_comes_from_the_next_one(fake, registries, fault):
    made = an_image(DATA)
    with FakeRegistry() as mirror:
        for registry in (mirror, fake):
            stored(registry, "x", made, "1")
            registry.add_blob("x", DATA)
        found = registries(fake.host, mirrors=((fake.host, f"http://{mirror.host}"),))
        base = pull.resolve_image(Reference.parse(f"{fake.host}/x:1"), AMD64, found)
        assert base.registry.host == mirror.host
        mirror.fault("GET", f"/blobs/{digest.of(DATA)}", fault, fault, fault)
        with base.open(descriptor()) as reader:
            assert reader.read() == DATA
    assert fake.requests("GET", "/blobs/")


@pytest.mark.parametrize("upstream", [Answer(404), Answer(401), Answer(403), Answer(500)])
def test_a_layer_of_a_mirror_that_is_down_is_asked_for_again_later(fake, registries, upstream):
    made = an_image(DATA)
    with FakeRegistry() as mirror:
        stored(mirror, "x", made, "1")
        found = registries(fake.host, mirrors=((fake.host, f"http://{mirror.host}"),))
        base = pull.resolve_image(Reference.parse(f"{fake.host}/x:1"), AMD64, found)
        mirror.fault("GET", "/blobs/", Answer(503))
        fake.fault("GET", "/blobs/", upstream, upstream)
        with pytest.raises(errors.Unavailable) as caught:
            base.open(descriptor())
    assert caught.value.retryable
    assert fake.host in caught.value.message
    assert f"mirror {mirror.host}" in caught.value.message


def test_a_layer_that_nobody_gives_is_told_of_by_the_upstream(fake, registries):
    made = an_image(DATA)
    with FakeRegistry() as mirror:
        stored(mirror, "x", made, "1")
        found = registries(fake.host, mirrors=((fake.host, f"http://{mirror.host}"),))
        base = pull.resolve_image(Reference.parse(f"{fake.host}/x:1"), AMD64, found)
        with pytest.raises(errors.NotFound) as caught:
            base.open(descriptor())
    assert caught.value.host == fake.host
    assert f"mirror {mirror.host}" in caught.value.message


def test_when_nobody_has_the_image_everybody_is_named(registries):
    with FakeRegistry() as upstream, FakeRegistry() as mirror:
        found = registries(upstream.host, mirrors=((upstream.host, f"http://{mirror.host}"),))
        with pytest.raises(errors.NotFound) as caught:
            pull.resolve_image(Reference.parse(f"{upstream.host}/x:1"), AMD64, found)
    assert upstream.host in str(caught.value)
    assert f"mirror {mirror.host}" in str(caught.value)


def free_host() -> str:
    """Where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"


REFUSED, AUTH, BROKEN = Answer(404), Answer(401, headers={"WWW-Authenticate": "Basic"}), Answer(503)


@pytest.mark.parametrize(
    ("mirror", "upstream", "kind"),
    [
        pytest.param(REFUSED, REFUSED, errors.NotFound, id="both lack it"),
        pytest.param(BROKEN, REFUSED, errors.NotFound, id="the upstream lacks it, the mirror is down"),
        pytest.param(BROKEN, AUTH, errors.Unauthorized, id="the upstream refuses, the mirror is down"),
        pytest.param(REFUSED, BROKEN, errors.Unconfirmed, id="the mirror lacks it, the upstream is down"),
        pytest.param(REFUSED, None, errors.Unconfirmed, id="the mirror lacks it, nobody listens at the upstream"),
        pytest.param(AUTH, BROKEN, errors.Unavailable, id="the mirror refuses, the upstream is down"),
        pytest.param(BROKEN, BROKEN, errors.Unavailable, id="both are down"),
    ],
)
def test_only_the_upstream_or_a_mirror_beside_it_says_that_an_image_is_missing(registries, mirror, upstream, kind):
    with FakeRegistry() as behind, FakeRegistry() as front:
        front.fault("GET", "/manifests/", mirror)
        if upstream is not None:
            behind.fault("GET", "/manifests/", upstream)
        host = behind.host if upstream is not None else free_host()
        found = registries(host, mirrors=((host, f"http://{front.host}"),))
        with pytest.raises(errors.RegistryError) as caught:
            pull.resolve_image(Reference.parse(f"{host}/x:1"), AMD64, found)
    assert type(caught.value) is kind
    assert host in caught.value.message
    assert f"mirror {front.host}" in caught.value.message


def test_an_absence_that_nobody_can_confirm_is_retried_and_tells_both_facts(registries):
    host = free_host()
    with FakeRegistry() as front:
        found = registries(host, mirrors=((host, f"http://{front.host}"),))
        with pytest.raises(build_errors.RegistryUnavailable) as caught:
            images.RegistryImages(found).resolve(f"{host}/x:nosuch", AMD64)
    assert caught.value.retryable
    assert f"not found at the mirror {front.host}, and {host} itself cannot be asked" in caught.value.message
    assert "answered 404" in caught.value.message
    assert "refused" in caught.value.message
    assert "check the name" in caught.value.hint


def test_a_missing_platform_at_a_mirror_is_no_proof_while_the_upstream_is_away(registries):
    host = free_host()
    with FakeRegistry() as front:
        front.add_manifest("x", Index(()).to_bytes(), mediatypes.OCI_INDEX, "1")
        found = registries(host, mirrors=((host, f"http://{front.host}"),))
        with pytest.raises(errors.Unconfirmed, match="no platform at all"):
            pull.resolve_image(Reference.parse(f"{host}/x:1"), AMD64, found)


def test_an_artifact_is_no_base_image(fake, registries):
    fake.add_blob(REPO, b"{}")
    chart = Manifest(Descriptor("application/vnd.cncf.helm.config.v1+json", digest.of(b"{}"), 2), ())
    fake.add_manifest(REPO, chart.to_bytes(), mediatypes.OCI_MANIFEST, "v1")
    with pytest.raises(oci_errors.ImageInvalid, match="helm"):
        pull.resolve_image(Reference.parse(f"{fake.host}/{REPO}:v1"), AMD64, registries(fake.host))


def test_an_empty_index_names_no_platform(fake, registries):
    fake.add_manifest(REPO, Index(()).to_bytes(), mediatypes.OCI_INDEX, "v1")
    with pytest.raises(oci_errors.PlatformMissing, match="no platform at all"):
        pull.resolve_image(Reference.parse(f"{fake.host}/{REPO}:v1"), AMD64, registries(fake.host))


# Connections ---------------------------------------------------------------------------------------------------------


def test_connections_are_kept_and_counted(fake, registry):
    fake.add_blob(REPO, DATA)
    for _ in range(5):
        registry.blob(REPO, digest.of(DATA), len(DATA)).read()
    assert registry.totals.requests == 5
    assert registry.totals.bytes_down == 5 * len(DATA)


def test_a_connection_that_died_while_idle_costs_nothing(fake, registry, waits):
    fake.add_blob(REPO, DATA)
    registry.has_blob(REPO, digest.of(DATA))
    fake.fault("HEAD", "/blobs/", CloseAfter())
    assert registry.has_blob(REPO, digest.of(DATA)) is True
    assert waits == []


def test_nobody_listening_is_unavailable_and_says_what_to_check(waits, client):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(errors.Unavailable, match=f"cannot connect to {host}: Connection refused") as caught:
            client(host, policy=waits.policy(attempts=2)).ping()
    assert caught.value.retryable
    assert len(waits) == 1


def test_a_silent_server_is_given_up_after_the_time_set(waits, client):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        host = f"127.0.0.1:{sock.getsockname()[1]}"
        quick = connect.Timeouts(connect=0.5, read=0.1)
        with pytest.raises(errors.Unavailable, match="no answer in time"):
            client(host, timeouts=quick, policy=waits.policy(attempts=1)).ping()


def test_https_to_a_plain_server_says_so(fake, client):
    with pytest.raises(errors.TlsFailed, match="does not speak TLS") as caught:
        client(fake.host, insecure=False).ping()
    assert "insecure" in caught.value.hint


@pytest.mark.parametrize(
    "greeting",
    [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n", b"\0" * 100, b""],
)
def test_what_is_no_http_server_is_unavailable(greeting, client, waits):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()

        def serve() -> None:
            peer, _ = sock.accept()
            peer.recv(1000)
            peer.sendall(greeting)
            peer.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(errors.Unavailable):
            client(f"127.0.0.1:{sock.getsockname()[1]}", policy=waits.policy(attempts=1)).ping()
        thread.join()


def test_the_address_filter_sees_every_address_and_forbids(fake, client):
    seen: list[tuple[str, str]] = []

    def forbid(host: str, ip: str) -> None:
        seen.append((host, ip))
        raise errors.AddressRefused(f"{host} is {ip}, where builds may not connect to")

    registry = client(fake.host, connect_filter=forbid)
    with pytest.raises(errors.AddressRefused, match=r"127\.0\.0\.1"):
        registry.ping()
    assert seen == [("127.0.0.1", "127.0.0.1")]
    assert fake.seen == []


def test_the_address_filter_holds_for_redirects(fake, client):
    def forbid(host: str, ip: str) -> None:
        if host == "localhost":
            raise errors.AddressRefused("no")

    fake.fault("GET", "/blobs/", Answer(307, headers={"Location": f"http://localhost:{fake.host.partition(':')[2]}/x"}))
    registry = client(fake.host, connect_filter=forbid)
    with pytest.raises(errors.AddressRefused):
        registry.blob(REPO, digest.of(DATA), len(DATA))


def test_a_credential_helper_is_run_once(fake, client):
    fake.users = {"alice": ALICE.password}
    asked: list[str] = []

    def run(name: str, server: str) -> Credential:
        asked.append(server)
        return ALICE

    document = json.dumps({"credsStore": "mine"}).encode()
    registry = client(fake.host, credentials=DockerConfig.load([document], run_helper=run))
    for _ in range(3):
        registry.has_blob(REPO, digest.EMPTY)
    assert asked == [fake.host]


def test_credentials_are_looked_up_for_the_repository(fake, client):
    fake.users = {"u2": "p2"}
    document = {
        "auths": {
            fake.host: {"username": "u1", "password": "p1"},
            f"{fake.host}/team": {"username": "u2", "password": "p2"},
        }
    }
    registry = client(fake.host, credentials=DockerConfig.load([json.dumps(document).encode()]))
    assert registry.has_blob("team/app", digest.EMPTY) is False
    with pytest.raises(errors.Unauthorized):
        registry.has_blob("other/app", digest.EMPTY)


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nDocker-Content-Digest: nonsense",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 500 No\r\nConnection: close",
        '''HTTP/1.1 401 No\r\nConnection: close\r\nWWW-Authenticate: Bearer realm="ftp://x"''',
        "HTTP/1.1 307 There\r\nConnection: close\r\nLocation: http://[",
    ],
)
def test_no_answer_keeps_its_connection_open(client, head: str) -> None:
    """Not to be left to the garbage collector, which a builder runs seldom."""
    with Liar() as liar:
        registry = client(liar.host, policy=retry.Policy(attempts=1))
        liar.begin(lambda _: (f"{head}\r\nContent-Length: 9000000\r\n\r\n".encode() + bytes(6 << 20), True))
        gc.disable()
        try:
            with contextlib.suppress(build_errors.BuildError):
                registry.manifest(REPO, "latest")
            assert liar.asked
            assert connections_to(liar.host) == 0
        finally:
            gc.enable()


def connections_to(host: str) -> int:
    """How many sockets of this process are connected to `host`."""
    found = 0
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:
            address, port, *_ = sock.getpeername()
            found += f"{address}:{port}" == host
    return found
