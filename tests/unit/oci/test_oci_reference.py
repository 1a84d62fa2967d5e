"""Names of images, as people write them and as they are wrong."""

from __future__ import annotations

import pytest

from strata_builder.oci import errors
from strata_builder.oci.reference import Reference

D = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("busybox", "docker.io", "library/busybox", None, None),
        ("busybox:1.36", "docker.io", "library/busybox", "1.36", None),
        ("user/app", "docker.io", "user/app", None, None),
        ("index.docker.io/library/x:1", "docker.io", "library/x", "1", None),
        ("localhost/x", "localhost", "x", None, None),
        ("localhost:5000/x/y:t", "localhost:5000", "x/y", "t", None),
        ("reg.example:5000/x", "reg.example:5000", "x", None, None),
        ("REG.example/x", "reg.example", "x", None, None),
        ("LOCALHOST/x", "localhost", "x", None, None),
        ("0" * 64 + ":t", "docker.io", "library/" + "0" * 64, "t", None),
        ("Registry/x", "Registry", "x", None, None),
        ("[::1]:5000/x:t", "[::1]:5000", "x", "t", None),
        ("[FD00::A]/x", "[fd00::a]", "x", None, None),
        ("[::ffff:10.0.0.1]:5000/x", "[::ffff:10.0.0.1]:5000", "x", None, None),
        (f"quay.io/a/b:t@{D}", "quay.io", "a/b", "t", D),
        ("a/b_c/d__e/f-g--h/i.j", "docker.io", "a/b_c/d__e/f-g--h/i.j", None, None),
        ("registry.ns.svc:5000/ns/app", "registry.ns.svc:5000", "ns/app", None, None),
    ],
)
def test_a_reference_is_split_into_host_repository_tag_and_digest(text, host, repository, tag, digest):
    assert Reference.parse(text) == Reference(host, repository, tag, digest)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("0" * 64, "64 hexadecimal digits"),
        (" x", "white space"),
        ("https://reg.example/x", "URL"),
        ("reg.example/App", "lower case"),
        ("reg.example/", "repository is missing"),
        ("x:", "tag"),
        ("x:-a", "tag"),
        ("x:" + "t" * 129, "129"),
        ("reg.example/" + "a" * 250, "255"),
        ("reg.example:99999/x", "port"),
        ("[.]/x", "IPv6"),
        ("[1]:5000/x", "IPv6"),
        ("[:::]/x", "IPv6"),
        ("[1::2::3]/x", "IPv6"),
        ("[10.0.0.1]:5000/x", "IPv6"),
        ("reg.example/a//b", "path part"),
        ("reg.example/../b", "path part"),
        ("reg.example/a..b", "path part"),
        ("x@sha256:short", "hexadecimal"),
        ("x@md5:" + "a" * 32, "sha256"),
        ("reg.example/a\nb", "path part"),
    ],
)
def test_a_wrong_reference_says_which_part_is_wrong(text, part):
    with pytest.raises(errors.ReferenceInvalid, match=part):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("text", "name", "familiar", "full"),
    [
        ("docker.io/library/busybox:1", "busybox", "busybox:1", "docker.io/library/busybox:1"),
        ("user/app", "user/app", "user/app", "docker.io/user/app"),
        ("library/a/b", "library/a/b", "library/a/b", "docker.io/library/a/b"),
        (f"quay.io/a@{D}", "quay.io/a", f"quay.io/a@{D}", f"quay.io/a@{D}"),
        ("Registry/x", "Registry/x", "Registry/x", "Registry/x"),
        ("HOST.example/x", "host.example/x", "host.example/x", "host.example/x"),
    ],
)
def test_a_reference_is_shown_short_and_in_full(text, name, familiar, full):
    reference = Reference.parse(text)
    assert (reference.name, reference.familiar, str(reference)) == (name, familiar, full)
    assert Reference.parse(reference.familiar) == reference
    assert Reference.parse(str(reference)) == reference


def test_a_new_tag_drops_the_digest_and_a_digest_keeps_the_tag():
    reference = Reference.parse(f"x:1@{D}")
    assert reference.version == D
    assert reference.with_tag("2") == Reference("docker.io", "library/x", "2")
    assert Reference.parse("x:1").with_digest(D) == reference
    assert Reference.parse("x").version == "latest"


def test_another_default_host_gets_no_library():
    assert Reference.parse("app", default_host="localhost:5000") == Reference("localhost:5000", "app")


@pytest.mark.parametrize("text", ["docker.io/a.b/c", "docker.io/localhost/x", "docker.io/a.b/c:1"])
def test_a_repository_that_looks_like_a_host_keeps_its_own_when_it_is_shown(text: str) -> None:
    found = Reference.parse(text)
    assert found.host == "docker.io"
    assert found.familiar == text
    assert Reference.parse(found.familiar) == found
