"""What a delivery tells of, how often one may deliver, what a registry tells of, and who delivers."""

import json
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from strata_operator.webhooks import deliveries, envelopes, limits, peers, words
from strata_operator.webhooks.deliveries import Kind


@pytest.mark.parametrize(
    ("headers", "forge", "kind"),
    [
        ({"X-GitHub-Event": "push"}, "github", Kind.PUSH),
        ({"X-GitHub-Event": "ping"}, "github", Kind.PING),
        ({"X-GitHub-Event": "issues"}, "github", Kind.OTHER),
        ({"X-Gitlab-Event": "Push Hook"}, "gitlab", Kind.PUSH),
        ({"X-Gitlab-Event": "Tag Push Hook"}, "gitlab", Kind.PUSH),
        ({"X-Gitlab-Event": "Note Hook"}, "gitlab", Kind.OTHER),
        ({"X-Gitea-Event": "push", "X-GitHub-Event": "push", "X-Gogs-Event": "push"}, "gitea", Kind.PUSH),
        ({"X-Forgejo-Event": "push", "X-Gitea-Event": "push"}, "forgejo", Kind.PUSH),
        ({"X-Gitea-Event": "issue_comment"}, "gitea", Kind.OTHER),
        ({"X-Event-Key": "repo:push"}, "bitbucket", Kind.PUSH),
        ({"X-Event-Key": "repo:refs_changed"}, "bitbucket", Kind.PUSH),
        ({"X-Event-Key": "diagnostics:ping"}, "bitbucket", Kind.PING),
        ({"X-Event-Key": "pullrequest:created"}, "bitbucket", Kind.OTHER),
        ({}, "generic", Kind.PUSH),
    ],
)
def test_the_event_is_in_a_header_of_each_forge(headers: dict[str, str], forge: str, kind: Kind) -> None:
    found = deliveries.read(CIMultiDict(headers))
    assert (found.forge, found.kind) == (forge, kind)
    assert found.forge in deliveries.FORGES


def test_an_event_is_shown_only_as_far_as_it_can_be() -> None:
    shown = deliveries.read({"X-GitHub-Event": "a\r\nb\x1b[31m" + "é" + "x" * 100}).event
    assert shown.isprintable()
    assert len(shown) == 60


def test_a_bucket_gives_its_depth_and_then_its_rate() -> None:
    buckets = limits.Buckets(rate=2.0, burst=3.0)
    assert [buckets.take("a", 10.0) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a", 10.0) == 0.5
    assert buckets.take("b", 10.0) == 0
    assert buckets.take("a", 10.5) == 0
    assert buckets.take("a", 10.5) > 0
    assert [buckets.take("a", 1000.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_buckets_do_not_grow_with_those_who_try() -> None:
    buckets = limits.Buckets(rate=1.0, burst=1.0, most=100)
    for number in range(1000):
        buckets.take(number, 0.0)
    assert len(buckets._levels) == 100


def event(**target: Any) -> dict[str, Any]:
    return {"action": "push", "target": {"repository": "team/base", "tag": "1", **target}}


def test_manifests_that_were_pushed_under_a_tag_count_and_nothing_else() -> None:
    events = [
        event(),
        event(tag="2"),
        event(),
        event(tag=""),
        {"action": "push", "target": {"repository": "team/base", "digest": "sha256:0"}},
        {**event(tag="9"), "action": "pull"},
        {**event(tag="9"), "action": "delete"},
    ]
    found = envelopes.pushed(json.dumps({"events": events}).encode())
    assert found == [("team/base", "1"), ("team/base", "2")]


@pytest.mark.parametrize(
    "one",
    [
        None, 1, [], "push", {}, {"action": "push"}, {"action": "push", "target": None}, {"action": ["push"]},
        event(tag=1), event(tag="a/b"), event(tag="a" * 129), event(repository=None), event(repository="../etc"),
        event(repository="a" * 256), event(repository="A"), event(repository="a//b\n"),
    ],
)  # fmt: skip
def test_a_malformed_event_is_skipped(one: Any) -> None:
    assert envelopes.pushed(json.dumps({"events": [one, event()]}).encode()) == [("team/base", "1")]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"events": {}}', b"\xff", b"[" * 100_000, b"{}"])
def test_what_is_no_envelope_is_an_error_of_one_kind(body: bytes) -> None:
    with pytest.raises(ValueError):
        envelopes.pushed(body)


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),  # whoever delivers may write what he likes
        ("10.1.2.3", "198.51.100.7", "198.51.100.7"),
        ("10.1.2.3", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.1.2.3", "203.0.113.9, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("10.1.2.3", "nonsense", "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("::ffff:10.1.2.3", "198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        ("", "", "None"),
    ],
)
def test_a_peer_is_who_connects_or_whom_a_trusted_proxy_names(remote: str, forwarded: str, expected: str) -> None:
    request = make_mocked_request("POST", "/", headers={"X-Forwarded-For": forwarded}).clone(remote=remote)
    assert peers.Peers(["10.0.0.0/8"]).of(request) == expected


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("203.0.113.9:51234", "203.0.113.9"),
        ("203.0.113.9:51234, 10.9.9.9:443", "203.0.113.9"),
        ("[2001:db8:1:2::9]:51234", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("203.0.113.9:51234:1", "10.1.2.3"),
        ("203.0.113.9:port", "10.1.2.3"),
        ("[203.0.113.9", "10.1.2.3"),
        ("]:1", "10.1.2.3"),
    ],
)
def test_a_proxy_may_name_the_port_of_who_delivers_too(forwarded: str, expected: str) -> None:
    request = make_mocked_request("POST", "/", headers={"X-Forwarded-For": forwarded}).clone(remote="10.1.2.3")
    assert peers.Peers(["10.0.0.0/8"]).of(request) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        (["203.0.113.9, 203.0.113.8", "198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        (["203.0.113.9", "198.51.100.7", "10.9.9.9"], "198.51.100.7"),
        (["198.51.100.7", ""], "10.1.2.3"),
    ],
)
def test_a_line_that_the_client_wrote_does_not_hide_the_one_of_the_proxy(lines: list[str], expected: str) -> None:
    headers = CIMultiDict([("X-Forwarded-For", line) for line in lines])
    request = make_mocked_request("POST", "/", headers=headers).clone(remote="10.1.2.3")
    assert peers.Peers(["10.0.0.0/8"]).of(request) == expected


def test_every_answer_is_counted_under_a_name() -> None:
    answers = [words.refused(), words.too_large(1 << 20), words.too_slow(), words.too_often("you deliver", 0.2)]
    answers += [words.nobody_acts(), words.malformed("x")]
    assert {words.result(a.status) for a in answers} == {
        "refused", "large", "slow", "limited", "unavailable", "malformed",
    }  # fmt: skip
    assert answers[3].headers["Retry-After"] == "1"
