"""The client against the CNCF distribution registry itself: login, TLS, tokens, restarts, collection, memory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import threading
import tracemalloc

import pytest

from strata_builder.oci import digest, image, mediatypes
from strata_builder.oci.image import Descriptor, History, Image, LayerRef
from strata_builder.oci.manifest import Manifest
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.registry import errors, pull, push, retry
from strata_builder.registry.client import Registry
from strata_builder.registry.config import Credential, DockerConfig
from strata_builder.registry.registries import Registries, Settings
from support.certificates import Authority
from support.registry_process import RegistryProcess, find_binary
from support.token_server import ISSUER, SERVICE, TokenServer

BINARY = find_binary()
pytestmark = pytest.mark.skipif(BINARY is None, reason="no registry binary: STRATA_REGISTRY_BIN, or make cluster-up")

ALICE = Credential("alice", "s3:cr$t pä")
USERS = {"alice": ALICE.password}
DATA = hashlib.shake_128(b"layer").digest(3 << 20)
AMD64 = Platform.parse("linux/amd64")
REPO = "team/app"


def start(**more) -> RegistryProcess:
    assert BINARY is not None
    return RegistryProcess(BINARY, **more)


def client(host: str, credential: Credential | None = ALICE, **more) -> contextlib.closing[Registry]:
    more.setdefault("insecure", "ca" not in more)
    quick = retry.Policy(base=0.05, cap=0.5)
    return contextlib.closing(Registry(host, credentials=credential, policy=more.pop("policy", quick), **more))


def descriptor(data: bytes = DATA) -> Descriptor:
    return Descriptor(mediatypes.OCI_LAYER, digest.of(data), len(data))


def an_image(*layers: bytes, platform: Platform = AMD64) -> Image:
    made = Image.scratch(platform)
    for data in layers:
        made = made.append(LayerRef(descriptor(data), digest.of(data)), History(created_by="COPY"))
    return made.append(None, History(created_by="LABEL a=1"))


def at_hand(*layers: bytes):
    known = {digest.of(data): data for data in layers}
    return lambda d: (lambda: io.BytesIO(known[d.digest])) if d.digest in known else None


@pytest.fixture(scope="module")
def shared():
    with start(users=USERS) as process:
        yield process


def test_an_image_is_pushed_and_pulled_with_a_difficult_password(shared):
    made = an_image(DATA, b"two")
    with client(shared.host) as registry:
        assert registry.ping().authorised
        done = push.push_image(registry, REPO, made, at_hand(DATA, b"two"))
        push.put(registry, REPO, "v1", made.manifest_bytes(), made.manifest.media_type)
        assert registry.resolve(Reference.parse(f"{shared.host}/{REPO}:v1")) == done
        assert "v1" in list(registry.tags(REPO))
    secret = json.dumps({"auths": {shared.host: {"username": ALICE.username, "password": ALICE.password}}}).encode()
    with Registries(Settings(DockerConfig.load([secret]), insecure=[shared.host])) as registries:
        found = pull.resolve_image(Reference.parse(f"{shared.host}/{REPO}:v1"), AMD64, registries)
        assert found.image == made
        with found.open(found.manifest.layers[0]) as reader:
            assert reader.read() == DATA
    assert ALICE.password not in shared.log


@pytest.mark.parametrize(
    ("credential", "said"),
    [
        (Credential("alice", "wrong"), "authentication failed"),
        (None, "no credentials"),
        (Credential("nobody", ALICE.password), "authentication failed"),
    ],
)
def test_a_wrong_login_is_one_clear_error_for_reads_and_writes(shared, credential, said):
    with client(shared.host, credential) as registry:
        for attempt in (
            lambda: registry.manifest(REPO, "v1"),
            lambda: registry.upload_blob(REPO, descriptor(), lambda: io.BytesIO(DATA)),
        ):
            before = registry.totals.requests
            with pytest.raises(errors.Unauthorized, match=f"{said} for {shared.host}"):
                attempt()
            assert registry.totals.requests - before <= 2
        assert registry.totals.bytes_up == 0


def test_an_image_without_layers_is_pushed_and_pulled(shared):
    made = an_image()
    with client(shared.host) as registry:
        push.push_image(registry, "empty", made, at_hand())
        stored = json.loads(registry.manifest("empty", made.digest).data)
        config = json.loads(registry.blob_bytes("empty", made.config_descriptor, limit=9999))
    assert stored["layers"] == []
    assert config["rootfs"] == {"type": "layers", "diff_ids": []}


@pytest.mark.parametrize("family", list(mediatypes.Family))
def test_both_families_of_media_types_are_accepted_whole(shared, family):
    plain = an_image(b"x")
    made = Image(plain.config, plain.layers, family=family)
    with client(shared.host) as registry:
        assert push.push_image(registry, "families", made, at_hand(b"x")).media_type == made.manifest.media_type


def test_an_index_over_platforms_is_pushed_after_its_children(shared):
    images = [an_image(b"a"), an_image(b"b", platform=Platform.parse("linux/arm/v7"))]
    index = image.index_of(images)
    with client(shared.host) as registry:
        for made in images:
            push.push_image(registry, "multi", made, at_hand(b"a", b"b"))
        push.put(registry, "multi", "latest", index.to_bytes(), index.media_type)
    with Registries(Settings(DockerConfig.load([_secret(shared.host)]), insecure=[shared.host])) as registries:
        found = pull.resolve_image(Reference.parse(f"{shared.host}/multi"), Platform.parse("linux/arm/v7"), registries)
        assert (found.manifest_digest, found.platform) == (images[1].digest, Platform.parse("linux/arm/v7"))


def _secret(host: str) -> bytes:
    return json.dumps({"auths": {host: {"username": ALICE.username, "password": ALICE.password}}}).encode()


def test_a_second_push_moves_nothing_and_a_mount_moves_nothing(shared):
    made = an_image(DATA)
    with client(shared.host) as registry:
        push.push_image(registry, "base", made, at_hand(DATA))
        before = registry.totals.bytes_up
        push.push_image(registry, "base", made, at_hand(DATA))
        assert registry.totals.bytes_up - before == len(made.manifest_bytes())
        assert registry.mount_blob("other", digest.of(DATA), "base") is True
        assert registry.mount_blob("other", digest.of(b"nowhere"), "base") is False
        assert registry.has_blob("other", digest.of(DATA), len(DATA))


def test_what_is_not_there_is_not_found(shared):
    with client(shared.host) as registry:
        for attempt in (
            lambda: registry.manifest("no/such", "v1"),
            lambda: registry.blob("no/such", digest.of(DATA), len(DATA)),
            lambda: list(registry.tags("no/such")),
            lambda: registry.resolve(Reference.parse(f"{shared.host}/no/such:v1")),
        ):
            with pytest.raises(errors.NotFound, match="no/such"):
                attempt()
        assert registry.head_manifest("no/such", "v1") is None


def test_a_deleted_manifest_is_gone(shared):
    made = an_image(b"delete me")
    with client(shared.host) as registry:
        push.push_image(registry, "gone", made, at_hand(b"delete me"))
        assert registry.delete_manifest("gone", made.digest) is True
        assert registry.delete_manifest("gone", made.digest) is False


def test_referrers_are_kept_by_the_fallback_tag(shared):
    subject = an_image(b"signed")
    empty = Descriptor(mediatypes.OCI_EMPTY, digest.of(b"{}"), 2)
    with client(shared.host) as registry:
        about = push.push_image(registry, "signed", subject, at_hand(b"signed"))
        registry.upload_blob("signed", empty, lambda: io.BytesIO(b"{}"))
        for n in range(2):
            attached = Manifest(empty, (empty,), annotations=(("n", str(n)),), subject=about, artifact_type=f"test/{n}")
            push.push_referrer(registry, "signed", attached)
        assert {r.artifact_type for r in registry.referrers("signed", subject.digest)} == {"test/0", "test/1"}
        assert registry.referrers("signed", digest.of(b"x")) == ()


def test_a_manifest_that_names_unknown_blobs_lists_them(shared):
    made = an_image(b"never pushed")
    with client(shared.host) as registry, pytest.raises(errors.BlobsUnknown) as caught:
        registry.put_manifest("lost", made.digest, made.manifest_bytes(), made.manifest.media_type)
    assert {descriptor(b"never pushed").digest, made.config_descriptor.digest} <= set(caught.value.digests)


def test_a_damaged_blob_at_the_registry_is_never_believed(shared):
    bad = hashlib.shake_128(b"bad").digest(200_000)
    with client(shared.host) as registry:
        registry.upload_blob("damaged", descriptor(bad), lambda: io.BytesIO(bad))
        name = digest.hex_of(digest.of(bad))
        (shared.storage / f"blobs/sha256/{name[:2]}/{name}/data").write_bytes(bad[:-1] + b"?")
        with (
            registry.blob("damaged", digest.of(bad), len(bad)) as reader,
            pytest.raises(errors.DigestMismatch, match="damaged"),
        ):
            reader.read()


def test_a_changed_password_works_at_the_next_request():
    with start(users=USERS) as process, client(process.host) as registry:
        registry.ping()
        process.set_users({"alice": "new"})
        with pytest.raises(errors.Unauthorized):
            registry.has_blob(REPO, digest.EMPTY)
        with client(process.host, Credential("alice", "new")) as fresh:
            assert fresh.ping().authorised


def test_tls_with_an_authority_of_our_own():
    authority = Authority()
    with start(users=USERS, tls=authority.leaf()) as process:
        with client(process.host, ca=authority.pem) as registry:
            push.push_image(registry, REPO, an_image(DATA), at_hand(DATA))
            with registry.blob(REPO, digest.of(DATA), len(DATA)) as reader:
                assert reader.read() == DATA
        with (
            client(process.host, ca=Authority("another").pem) as stranger,
            pytest.raises(errors.TlsFailed, match="not trusted") as caught,
        ):
            stranger.ping()
        assert "SSL_CERT_FILE" in caught.value.hint
        with client(process.host, ca=None, insecure=False) as unknowing, pytest.raises(errors.TlsFailed):
            unknowing.ping()


def test_a_certificate_for_another_name_is_refused():
    authority = Authority()
    leaf = authority.leaf(names=("other.example",), addresses=("127.0.0.9",))
    with (
        start(tls=leaf) as process,
        client(process.host, ca=authority.pem) as registry,
        pytest.raises(errors.TlsFailed, match=r"127\.0\.0\.1"),
    ):
        registry.ping()


def token_config(tokens: TokenServer) -> dict[str, str]:
    return {"realm": tokens.realm, "service": SERVICE, "issuer": ISSUER}


def test_tokens_are_fetched_for_exactly_what_is_done():
    with TokenServer(USERS) as tokens, start(token=token_config(tokens), root_bundle=tokens.root_bundle) as process:
        with client(process.host) as registry:
            made = an_image(DATA)
            push.push_image(registry, REPO, made, at_hand(DATA))
            assert registry.mount_blob("team/copy", digest.of(DATA), REPO) is True
            with registry.blob(REPO, digest.of(DATA), len(DATA)) as reader:
                assert reader.read() == DATA
        scopes = {scope for _, asked in tokens.asked for scope in asked}
        assert scopes == {f"repository:{REPO}:pull,push", "repository:team/copy:pull,push", f"repository:{REPO}:pull"}


def test_a_token_for_less_is_a_denial_and_not_a_loop():
    def readers(user: str, repository: str, asked: frozenset[str]) -> frozenset[str]:
        return asked if repository.startswith("mine/") else asked & {"pull"}

    with (
        TokenServer(USERS, policy=readers) as tokens,
        start(token=token_config(tokens), root_bundle=tokens.root_bundle) as process,
        client(process.host) as registry,
    ):
        registry.upload_blob("mine/app", descriptor(), lambda: io.BytesIO(DATA))
        with pytest.raises(errors.Denied, match="theirs/app"):
            registry.upload_blob("theirs/app", descriptor(), lambda: io.BytesIO(DATA))
        assert registry.mount_blob("mine/copy", digest.of(DATA), "mine/app") is True
        assert len(tokens.asked) < 10


def test_a_wrong_password_at_the_token_server_is_one_clear_error():
    with (
        TokenServer(USERS) as tokens,
        start(token=token_config(tokens), root_bundle=tokens.root_bundle) as process,
        client(process.host, Credential("alice", "wr0ng")) as registry,
        pytest.raises(errors.Unauthorized, match="authentication failed") as caught,
    ):
        registry.manifest(REPO, "v1")
    assert "wr0ng" not in str(caught.value)


class Interrupted(io.BytesIO):
    """A source that does something once, in the middle of being read."""

    def __init__(self, data: bytes, action) -> None:
        super().__init__(data)
        self.action = action

    def readinto(self, buffer):
        if self.action is not None and self.tell() > len(self.getvalue()) // 2:
            action, self.action = self.action, None
            action()
        return super().readinto(buffer)


@pytest.mark.parametrize("new_secret", [False, True])
def test_an_upload_survives_a_registry_that_restarts_in_the_middle(new_secret):
    big = DATA * 5
    with start(users=USERS) as process, client(process.host) as registry:
        actions = [process.restart]
        if new_secret:
            process.set_secret()
        registry.upload_blob(REPO, descriptor(big), lambda: Interrupted(big, actions.pop() if actions else None))
        with registry.blob(REPO, digest.of(big), len(big)) as reader:
            assert reader.read() == big
        assert registry.totals.bytes_up > len(big)


def test_a_download_survives_a_registry_that_restarts_in_the_middle():
    big = DATA * 10
    with start(users=USERS) as process, client(process.host) as registry:
        registry.upload_blob(REPO, descriptor(big), lambda: io.BytesIO(big))
        with registry.blob(REPO, digest.of(big), len(big)) as reader:
            first = reader.read(1 << 20)
            process.restart()
            assert first + reader.read() == big


def test_a_registry_that_is_down_for_a_moment_is_waited_for():
    with start(users=USERS) as process, client(process.host, policy=retry.Policy(base=0.2, cap=1.0)) as registry:
        process.stop(kill=True)
        later = threading.Timer(0.5, process.start)
        later.start()
        assert registry.ping().authorised
        later.join()


def test_a_read_only_registry_is_named():
    with (
        start(users=USERS, readonly=True) as process,
        client(process.host) as registry,
        pytest.raises(errors.ReadOnly) as caught,
    ):
        registry.upload_blob(REPO, descriptor(), lambda: io.BytesIO(DATA))
    assert caught.value.retryable


def test_blobs_that_a_collection_took_between_blob_and_manifest_are_sent_again():
    made = an_image(DATA)
    with start(users=USERS) as process, client(process.host) as registry:
        registry.upload_blob(REPO, descriptor(), lambda: io.BytesIO(DATA))
        registry.upload_blob(REPO, made.config_descriptor, lambda: io.BytesIO(made.config_bytes()))
        process.stop()
        process.collect_garbage()
        process.start()
        push.push_image(registry, REPO, made, at_hand(DATA))
        with registry.blob(REPO, digest.of(DATA), len(DATA)) as reader:
            assert reader.read() == DATA


class Zeros(io.RawIOBase):
    """`size` zero bytes that take no memory."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer):
        count = min(len(buffer), self.left)
        buffer[:count] = bytes(count)
        self.left -= count
        return count


def test_memory_does_not_grow_with_the_blob():
    size = 256 << 20
    hasher = hashlib.sha256()
    for _ in range(256):
        hasher.update(bytes(1 << 20))
    big = Descriptor(mediatypes.OCI_LAYER, f"sha256:{hasher.hexdigest()}", size)
    with start(users=USERS) as process, client(process.host) as registry:
        registry.ping()
        tracemalloc.start()
        registry.upload_blob(REPO, big, lambda: io.BufferedReader(Zeros(size)))
        with registry.blob(REPO, big.digest, size) as reader:
            while reader.read(1 << 20):
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 << 20  # of all threads of this process: other tests may have left some
