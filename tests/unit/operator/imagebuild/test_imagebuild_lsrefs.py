"""The small request for references, and answers of any kind. Also which hosts are reached through a proxy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata_builder.context import gitref
from strata_operator import settings
from strata_operator.imagebuild.triggers import lsrefs, proxies

A, B = b"a" * 40, b"b" * 40


def packet(line: bytes) -> bytes:
    return b"%04x%s" % (len(line) + 4, line)


def test_a_request_names_what_it_wants_and_nothing_else():
    assert lsrefs.request(["HEAD", "refs/heads/main"]) == (
        b"0014command=ls-refs\n00010009peel\n0014ref-prefix HEAD\n001fref-prefix refs/heads/main\n0000"
    )


def test_an_answer_becomes_the_lines_of_ls_remote():
    answer = packet(A + b" refs/heads/main\n") + packet(A + b" refs/tags/v1 peeled:" + B + b"\n")
    answer += packet(A + b" HEAD symref-target:refs/heads/main\n") + packet(A * 1 + b" refs/no-newline") + b"0000"
    assert lsrefs.listing(answer) == (
        A + b"\trefs/heads/main\n" + A + b"\trefs/tags/v1\n" + B + b"\trefs/tags/v1^{}\n" + A + b"\tHEAD\n"
        + A + b"\trefs/no-newline\n"
    )  # fmt: skip
    assert lsrefs.listing(b"0000") == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"000",
        b"<html>",
        b"0003",
        b"0001",
        b"ffff",
        packet(A + b" refs/heads/main\n"),
        packet(b"ERR no such repository\n") + b"0000",
        packet(b"version 2\n") + b"0000",
        packet(b"unborn HEAD symref-target:refs/heads/main\n") + b"0000",
        packet(b"A" * 40 + b" refs/heads/main\n") + b"0000",
        b"-001" + b"0000",
        b" 1 1",
    ],
)
def test_what_is_no_such_answer_is_told(answer):
    with pytest.raises(lsrefs.Unsuited):
        lsrefs.listing(answer)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(data):
    for answer in (data, packet(data) + b"0000"):
        try:
            lsrefs.listing(answer)
        except lsrefs.Unsuited:
            continue


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://git.example/a.git", "http://p:1"),
        ("http://git.example/a.git", "http://p:2"),
        ("ssh://git@git.example/a.git", ""),
        ("git@git.example:a.git", ""),
        ("https://git.internal/a.git", ""),
        ("https://team.svc/a.git", ""),
        ("https://10.1.2.3/a.git", ""),
        ("https://11.1.2.3/a.git", "http://p:1"),
        ("https://[fd00::1]/a.git", ""),
    ],
)
def test_a_proxy_is_for_http_and_not_for_the_exceptions(url, expected):
    options = settings.Settings(
        "strata", https_proxy="http://p:1", http_proxy="http://p:2", no_proxy="git.internal,.svc,10.0.0.0/8,fd00::/8"
    )
    assert proxies.of(gitref.parse_url(url), options) == expected
