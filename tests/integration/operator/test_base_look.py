"""Looking at base images in the real registry: how many requests it takes, and what counts as news."""

import contextlib
from collections.abc import Iterator

import pytest

from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.registry import errors
from strata_builder.registry.client import Registry
from strata_builder.registry.config import Credential
from strata_operator import addresses
from strata_operator.imagebuild.triggers import baselook
from strata_operator.imagebuild.triggers.bases import Found
from support import indexes, registry_requests
from support.certificates import Authority
from support.registry_process import RegistryProcess, find_binary

BINARY = find_binary()
pytestmark = pytest.mark.skipif(BINARY is None, reason="no registry binary: STRATA_REGISTRY_BIN, or make cluster-up")

REPO = "library/debian"
HERE = addresses.Filter.of(["127.0.0.0/8"])
NOWHERE = addresses.Filter.of([])


@pytest.fixture
def server() -> Iterator[RegistryProcess]:
    assert BINARY is not None
    with RegistryProcess(BINARY) as running:
        yield running


class Look:
    """One base image, looked at again and again."""

    def __init__(
        self, host: str, *, platform: str = "linux/amd64", admits: addresses.Filter = HERE, **source: object
    ) -> None:
        self.clients = baselook.Clients(admits.hook)
        self.source = baselook.Source(host, REPO, **({"insecure": True} | source))  # type: ignore[arg-type]
        reference = Reference.parse(f"{host}/{REPO}:12")
        self.place = baselook.Place(reference, Platform.parse(platform), (self.source,))
        self.known: Found | None = None

    def __call__(self) -> Found:
        self.known, _ = baselook.look(self.clients.of(self.source), self.source, self.place, self.known)
        return self.known


@contextlib.contextmanager
def looking(host: str, **more: object) -> Iterator[Look]:
    look = Look(host, **more)  # type: ignore[arg-type]
    try:
        yield look
    finally:
        look.clients.close()


def pusher(host: str) -> contextlib.closing[Registry]:
    return contextlib.closing(Registry(host, insecure=True))


def test_a_base_that_has_not_moved_costs_one_conditional_request_that_moves_nothing(server):
    with pusher(server.host) as to, looking(server.host) as look:
        amd64 = indexes.push_image(to, REPO, "one")
        indexes.push_index(to, REPO, [amd64], "12")
        with registry_requests.counted(server) as first:
            assert look().digest == amd64["digest"]
        assert [(r.method, r.status) for r in first.found] == [("HEAD", 200), ("GET", 200)]
        with registry_requests.counted(server) as second:
            for _ in range(5):
                assert look().digest == amd64["digest"]
        assert [(r.method, r.status, r.size) for r in second.found] == [("HEAD", 304, 0)] * 5


def test_an_index_that_changes_with_its_attestation_or_another_platform_has_not_moved(server):
    with pusher(server.host) as to, looking(server.host) as look:
        amd64, arm64 = (indexes.push_image(to, REPO, "one", architecture=a) for a in ("amd64", "arm64"))
        indexes.push_index(to, REPO, [amd64, arm64, indexes.push_attestation(to, REPO, "first")], "12")
        first = look()
        indexes.push_index(to, REPO, [amd64, arm64, indexes.push_attestation(to, REPO, "second")], "12")
        second = look()
        assert first.top != second.top
        assert not second.moved(amd64["digest"])
        newer = indexes.push_image(to, REPO, "two", architecture="arm64")
        indexes.push_index(to, REPO, [amd64, newer], "12")
        third = look()
        assert not third.moved(amd64["digest"])
        assert third.moved(arm64["digest"])
        assert not third.moved(newer["digest"])


def test_a_platforms_manifest_that_moves_is_news_and_a_rollback_too(server):
    with pusher(server.host) as to, looking(server.host) as look:
        one, two = (indexes.push_image(to, REPO, text) for text in ("one", "two"))
        indexes.push_index(to, REPO, [one], "12")
        look()
        indexes.push_index(to, REPO, [two], "12")
        assert look().digest == two["digest"]
        assert look().moved(one["digest"])
        indexes.push_index(to, REPO, [one], "12")
        assert look().digest == one["digest"]


def test_a_second_entry_for_the_same_platform_is_not_the_one_that_a_build_takes(server):
    with pusher(server.host) as to, looking(server.host) as look:
        one, two = (indexes.push_image(to, REPO, text) for text in ("one", "two"))
        indexes.push_index(to, REPO, [two, one], "12")
        assert look().digest == two["digest"]
        assert look().moved(one["digest"])


def test_a_name_that_stands_for_a_manifest_itself_is_told_by_its_head_alone(server):
    with pusher(server.host) as to, looking(server.host) as look:
        one = indexes.push_image(to, REPO, "one", "12")
        with registry_requests.counted(server) as seen:
            assert look() == Found(one["digest"], one["digest"], etag=f'"{one["digest"]}"', host=server.host)
            two = indexes.push_image(to, REPO, "two")
            to.put_manifest(REPO, "12", to.manifest(REPO, two["digest"]).data, two["mediaType"])
            assert look().digest == two["digest"]
        heads = [r for r in seen.found if r.path.endswith("/manifests/12") and r.method in ("HEAD", "GET")]
        assert [(r.method, r.status) for r in heads] == [("HEAD", 200), ("HEAD", 200)]


def test_indexes_in_indexes_are_followed(server):
    with pusher(server.host) as to, looking(server.host) as look:
        amd64 = indexes.push_image(to, REPO, "one")
        inner = indexes.push_index(to, REPO, [amd64])
        data = to.manifest(REPO, inner)
        outer = {"mediaType": data.media_type, "digest": inner, "size": len(data.data), "platform": amd64["platform"]}
        indexes.push_index(to, REPO, [outer], "12")
        assert look().digest == amd64["digest"]


def test_an_image_that_is_gone_or_for_others_alone(server):
    with pusher(server.host) as to, looking(server.host) as look:
        with pytest.raises(errors.NotFound):
            look()
        arm64 = indexes.push_image(to, REPO, "one", architecture="arm64")
        indexes.push_index(to, REPO, [arm64], "12")
        assert look().digest == ""
        assert not look().moved(arm64["digest"])


def test_a_password_and_a_private_authority_are_used():
    authority = Authority()
    assert BINARY is not None
    with RegistryProcess(BINARY, users={"u": "p"}, tls=authority.leaf()) as server:
        ca = authority.pem.decode()
        with contextlib.closing(Registry(server.host, credentials=Credential("u", "p"), ca=ca.encode())) as to:
            one = indexes.push_image(to, REPO, "one", "12")
        with looking(server.host, insecure=False, ca=ca, credential=Credential("u", "p")) as look:
            assert look().digest == one["digest"]
            with registry_requests.counted(server) as seen:
                look()
            assert [r.status for r in seen.found] == [304]
        with looking(server.host, insecure=False, ca=ca) as look, pytest.raises(errors.Unauthorized):
            look()
        with looking(server.host, insecure=False) as look, pytest.raises(errors.TlsFailed):
            look()


def test_an_address_inside_is_not_asked_unless_an_administrator_named_the_host(server):
    with pusher(server.host) as to:
        one = indexes.push_image(to, REPO, "one", "12")
    refused = pytest.raises(errors.AddressRefused, match="pollAllowedCidrs")
    with registry_requests.counted(server) as seen, looking(server.host, admits=NOWHERE) as look, refused:
        look()
    assert len(seen) == 0
    with looking(server.host, admits=NOWHERE, trusted=True) as look:
        assert look().digest == one["digest"]
