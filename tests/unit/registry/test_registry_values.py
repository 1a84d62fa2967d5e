"""The small pure parts: URLs, proxies, mirrors, error tables, retry delays."""

from __future__ import annotations

import functools
import json

import pytest

from strata_builder import errors as build_errors
from strata_builder.oci.errors import ReferenceInvalid
from strata_builder.registry import addresses, errors, links, retry
from strata_builder.registry.mirrors import Endpoint, Mirrors
from strata_builder.registry.proxies import Proxies, Proxy

HERE = "https://reg.example:5000/v2/a/blobs/uploads/"


@pytest.mark.parametrize(
    ("location", "resolved"),
    [
        ("https://reg.example:5000/x?_state=abc%3D%3D", "https://reg.example:5000/x?_state=abc%3D%3D"),
        (
            "/v2/a/blobs/uploads/1?_state=a%2Fb&_state=c",
            "https://reg.example:5000/v2/a/blobs/uploads/1?_state=a%2Fb&_state=c",
        ),
        ("uuid", HERE + "uuid"),
        ("//s3.example/x", "https://s3.example/x"),
        ("/x#frag", "https://reg.example:5000/x"),
    ],
)
def test_a_location_is_resolved_and_its_query_kept(location, resolved):
    assert addresses.resolve(HERE, location) == resolved


@pytest.mark.parametrize(
    "location", ["", "/a\r\nX: y", "/a b", "file:///etc/passwd", "gopher://x/", "http://[::1/", "http://x:99999/"]
)
def test_a_hostile_location_is_refused(location):
    with pytest.raises(errors.ProtocolError):
        addresses.resolve(HERE, location)


def test_the_digest_is_added_without_touching_the_query():
    assert (
        addresses.with_query("https://r/u?_state=a%3D", "digest", "sha256:ab")
        == "https://r/u?_state=a%3D&digest=sha256%3Aab"
    )
    assert addresses.with_query("https://r/u", "digest", "sha256:ab") == "https://r/u?digest=sha256%3Aab"


def test_urls_are_shown_without_secrets():
    assert addresses.redact("https://u:p@s3.example/b/k?X-Amz-Signature=secret#f") == "https://s3.example/b/k"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.2:80", True),
        ("[::1]:5000", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_recognised(host, loopback):
    assert addresses.is_loopback(host) is loopback


def test_docker_hub_has_an_api_host_of_its_own():
    assert addresses.base_url("docker.io", insecure=False) == "https://registry-1.docker.io"
    assert addresses.base_url("reg:5000", insecure=True) == "http://reg:5000"


ENV = {
    "HTTPS_PROXY": "http://us%40er:p%3Aw@proxy.example:3128",
    "http_proxy": "proxy2.example",
    "HTTP_PROXY": "ignored",
    "NO_PROXY": "exact.example, .suffix.example,10.0.0.0/8,port.example:8443,[fd00::1],*.star.example",
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://reg.example/", Proxy("proxy.example", 3128, "us@er:p:w")),
        ("http://reg.example/", Proxy("proxy2.example", 80)),
        ("https://exact.example/", None),
        ("https://sub.exact.example/", None),
        ("https://notexact.example/", Proxy("proxy.example", 3128, "us@er:p:w")),
        ("https://a.suffix.example/", None),
        ("https://10.2.3.4/", None),
        ("https://11.2.3.4/", Proxy("proxy.example", 3128, "us@er:p:w")),
        ("https://port.example:8443/", None),
        ("https://port.example/", Proxy("proxy.example", 3128, "us@er:p:w")),
        ("https://[fd00::1]/", None),
        ("https://a.star.example/", None),
        ("https://localhost:5000/", None),
        ("https://127.0.0.1/", None),
    ],
)
def test_the_proxy_of_a_url_is_chosen_as_other_programs_choose_it(url, expected):
    assert Proxies.from_env(ENV).of(addresses.Origin.of(url)) == expected


def test_a_star_means_no_proxy_at_all_and_passwords_are_hidden():
    assert Proxies.from_env(ENV | {"no_proxy": "*"}).of(addresses.Origin.of("https://x/")) is None
    assert "p%3Aw" not in repr(Proxies.from_env(ENV))
    assert "p:w" not in repr(Proxies.from_env(ENV).of(addresses.Origin.of("https://x.y/")))


def test_mirrors_are_kept_in_order_for_their_upstream():
    mirrors = Mirrors.parse(
        [
            ("index.docker.io", "http://10.0.0.1:5000"),
            ("docker.io", "https://harbor.example/hub/v"),
            ("quay.io", "q.example"),
        ]
    )
    assert mirrors.of("docker.io") == (Endpoint("10.0.0.1:5000", True), Endpoint("harbor.example", False, "hub/v"))
    assert mirrors.of("docker.io")[1].repository("library/x") == "hub/v/library/x"
    assert mirrors.of("quay.io") == (Endpoint("q.example"),)
    assert mirrors.of("ghcr.io") == ()


@pytest.mark.parametrize("url", ["", "ftp://x", "http://u:p@x", "http://x?q=1", "http://x:99999", "http://"])
def test_a_mirror_that_is_no_url_is_refused_without_showing_its_password(url):
    with pytest.raises(build_errors.InvalidSpec, match="mirror endpoint") as caught:
        Endpoint.parse(url)
    assert "u:p" not in str(caught.value)


def test_a_mirror_prefix_must_be_a_repository_name():
    with pytest.raises(ReferenceInvalid):
        Endpoint.parse("http://x/UPPER")


def answer(method: str, status: int, *codes: str, body: bytes | None = None, **more) -> errors.RegistryError:
    entries = [{"code": code, "message": code.lower(), "detail": {"digest": "sha256:" + "a" * 64}} for code in codes]
    text = body if body is not None else json.dumps({"errors": entries}).encode()
    return errors.of_answer(
        method, status, text, host="reg", repository="a/b", url="https://reg/v2/", doing="push blob", **more
    )


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (answer("GET", 401, "UNAUTHORIZED"), errors.Unauthorized, False),
        (answer("PUT", 401, "UNAUTHORIZED", challenge_error="insufficient_scope"), errors.Denied, False),
        (answer("PUT", 403, "DENIED"), errors.Denied, False),
        (answer("GET", 404, "MANIFEST_UNKNOWN"), errors.NotFound, False),
        (answer("GET", 404, body=b"<html>nope</html>"), errors.NotFound, False),
        (answer("PUT", 404, "BLOB_UPLOAD_INVALID"), errors.UploadUnknown, False),
        (answer("PUT", 416), errors.UploadUnknown, False),
        (answer("PUT", 400, "DIGEST_INVALID"), errors.DigestRejected, True),
        (answer("PUT", 400, "MANIFEST_INVALID"), errors.Rejected, False),
        (answer("PUT", 400, "TAG_INVALID"), errors.TagImmutable, False),
        (answer("PUT", 405, body=b"Method not allowed\n"), errors.ReadOnly, True),
        (answer("DELETE", 405, "UNSUPPORTED"), errors.Rejected, False),
        (answer("GET", 405, body=b""), errors.Rejected, False),
        (answer("PUT", 413, body=b"<html>nginx</html>"), errors.TooLarge, False),
        (answer("GET", 429, "TOOMANYREQUESTS"), errors.Unavailable, True),
        (answer("GET", 503, body=b""), errors.Unavailable, True),
        (answer("GET", 500, "UNAUTHORIZED"), errors.Unavailable, True),
        (answer("GET", 501, body=b""), errors.Rejected, False),
        (answer("PUT", 400, "MANIFEST_BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"), errors.BlobsUnknown, True),
    ],
)
def test_answers_become_errors_by_the_tables(error, kind, retryable):
    assert type(error) is kind
    assert error.retryable is retryable
    assert "push blob" in error.message
    assert "reg/a/b" in error.message


def test_unknown_blobs_are_listed():
    assert answer("PUT", 400, "MANIFEST_BLOB_UNKNOWN").digests == ("sha256:" + "a" * 64,)


def test_a_registrys_words_are_clamped_and_printable():
    error = answer("GET", 400, body=b"bad\x1b[31m\r\nline\0" + b"x" * 100_000)
    assert "\x1b" not in error.message
    assert "\n" not in error.message
    assert len(error.message) < 400


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b'{"errors": 5}', b'{"errors": [5, {"code": 7}]}', b"\xff", b"[" * 99_999]
)
def test_an_error_body_may_be_anything(body):
    assert isinstance(answer("GET", 400, body=body), errors.Rejected)


def test_unauthorized_says_what_to_type():
    assert "docker login reg" in answer("GET", 401, "UNAUTHORIZED").hint


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("9" * 30, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry.parse_retry_after(value, now=lambda: 10.0) == seconds


def test_waits_double_up_to_a_cap_with_jitter_and_follow_retry_after():
    policy = retry.Policy(base=1.0, cap=10.0, longest=60.0, jitter=lambda: 1.0)
    assert [policy.delay(n) for n in (1, 2, 3, 4, 5, 50)] == [1, 2, 4, 8, 10, 10]
    assert retry.Policy(base=1.0, jitter=lambda: 0.0).delay(1) == 0.5
    assert policy.delay(1, 7.0) == 7.0
    assert policy.delay(1, 1e9) == 60.0


def test_only_what_may_heal_is_tried_again_and_not_forever():
    waits: list[float] = []
    policy = retry.Policy(attempts=3, sleep=waits.append)
    calls: list[int] = []

    def call(error: errors.RegistryError) -> None:
        calls.append(1)
        raise error

    for error, times in ((errors.Unavailable("x"), 3), (errors.Denied("x"), 1), (errors.ReadOnly("x"), 1)):
        calls.clear()
        with pytest.raises(type(error)):
            policy.run(functools.partial(call, error))
        assert len(calls) == times
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        ([], ""),
        (['</v2/a/tags/list?last=x>; rel="next"'], "/v2/a/tags/list?last=x"),
        (["<x>; rel=next"], "x"),
        (['<a>; rel=prev, <b>; REL = "Next"'], "b"),
        (["<a>; rel=prev", "<b>; rel=next"], "b"),
        (["<a>; rel=nextish"], ""),
        (["<a; rel=next"], ""),
        (["<" * 60_000] * 100, ""),
        (["<>;rel" + " " * 60_000] * 100, ""),
    ],
    ids=range(9),
)
def test_the_next_page_of_a_list_is_found_in_one_pass(headers, target):
    assert links.following(headers) == target


@pytest.mark.parametrize(
    "detail",
    ["[" * 900 + "]" * 900, '{"digest":["x"]}', '{"digest":"sha256:x"}', '"sha256:' + "0" * 5000 + '"', "[[]]", "7"],
    ids=range(6),
)
def test_details_that_name_no_digest_are_passed_over(detail):
    body = b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"m","detail":%b}]}' % detail.encode()
    error = errors.of_answer("PUT", 400, body, host="h", repository="r", url="u", doing="push")
    assert error.digests == ()


@pytest.mark.parametrize("value", ["\\u0000\\u001b[2J", "[1]", "{}"])
def test_codes_of_a_registry_are_printable_text_or_nothing(value):
    shown = value if value[0] in "[{" else f'"{value}"'
    body = b'{"errors":[{"code":%b,"message":%b}]}' % (shown.encode(), shown.encode())
    error = errors.of_answer("PUT", 400, body, host="h", repository="r", url="u", doing="push")
    assert str(error).isprintable()
