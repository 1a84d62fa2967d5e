"""Submodules: relative URLs, what .gitmodules may say, and whose credentials go where."""

from __future__ import annotations

import pytest

from strata_builder import errors
from strata_builder.context import gitref, submodules
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.context.submodules import Declared, Entry

HTTPS, SCP, SSH = "https://git.example:8443/team/app.git", "git@git.example:team/app.git", "ssh://git@h.example/t/a.git"


@pytest.mark.parametrize(
    ("parent", "url", "expected"),
    [
        (HTTPS, "../lib.git", "https://git.example:8443/team/lib.git"),
        (HTTPS, "../../other/lib.git", "https://git.example:8443/other/lib.git"),
        (HTTPS, "./lib.git", "https://git.example:8443/team/app.git/lib.git"),
        (HTTPS + "/", "../lib", "https://git.example:8443/team/lib"),
        (HTTPS, ".././lib//x.git", "https://git.example:8443/team/lib/x.git"),
        (HTTPS + "?service=1", "../lib.git", "https://git.example:8443/team/lib.git"),
        (SCP, "../lib.git", "git@git.example:team/lib.git"),
        (SCP, "../../other/lib.git", "git@git.example:other/lib.git"),
        (SSH, "../b.git", "ssh://git@h.example/t/b.git"),
        (HTTPS, "https://else.example/x.git", "https://else.example/x.git"),
    ],
)
def test_a_relative_url_starts_from_the_repository_s_own(parent, url, expected):
    assert submodules.resolve(gitref.parse_url(parent), url) == expected


@pytest.mark.parametrize("url", ["../../../x.git", "../../../../../etc/x.git"])
@pytest.mark.parametrize("parent", [HTTPS, SCP, SSH])
def test_a_relative_url_stays_on_its_server(parent, url):
    with pytest.raises(errors.InvalidSpec, match="above the root"):
        submodules.resolve(gitref.parse_url(parent), url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///srv/private.git",
        "/srv/private.git",
        "private.git",
        "ext::sh -c 'touch /tmp/x'",
        "ext::touch%20x",
        "-u./hook",
        "--upload-pack=touch x",
        "ssh://-oProxyCommand=touch/x",
        "git://git.example/x.git",
        "ssh://-u@git.example/x.git",
        "https://git.example/x\n.git",
        "fd::17",
    ],
)
def test_a_submodule_comes_from_a_server_and_from_nothing_else(url):
    with pytest.raises(errors.InvalidSpec, match="submodule at 'lib'"):
        submodules.url_of("lib", {"lib": Declared(url)}, gitref.parse_url(HTTPS))


def test_a_local_repository_has_no_local_submodules():
    with pytest.raises(errors.InvalidSpec, match="cannot be used"):
        submodules.url_of("lib", {"lib": Declared("../lib.git")}, gitref.parse_url("file:///srv/app.git", local=True))


def test_a_submodule_without_url_is_told_by_its_path():
    with pytest.raises(errors.SourceNotFound, match="'vendor/lib'") as caught:
        submodules.url_of("vendor/lib", {}, gitref.parse_url(HTTPS))
    assert "submodules=false" in caught.value.hint


def test_gitmodules_is_read_by_path_and_only_for_path_url_and_update():
    config = b"\0".join(
        [
            b"submodule.a.b.path\nvendor/lib/",
            b"submodule.a.b.url\n../lib.git",
            b"submodule.a.b.branch\nmain",
            b"submodule.off.path\noff",
            b"submodule.off.url\nhttps://x/y",
            b"submodule.off.update\nnone",
            b"submodule.run.path\nrun",
            b"submodule.run.url\n../run.git",
            b"submodule.run.update\n!touch /tmp/x",
            b"submodule.lost.url\n../lost.git",
            b"core.sshcommand\ntouch /tmp/x",
            b"submodule.bare",
            b"",
        ]
    )
    assert submodules.declared(config) == {
        "vendor/lib": Declared("../lib.git"),
        "off": Declared("https://x/y", skipped=True),
        "run": Declared("../run.git"),
    }


def test_the_records_of_a_tree_with_any_name():
    listing = b"\0".join(
        [b"100644 blob aa     12\ta\tb\n", b"160000 commit bb       -\tlib", b"120000 blob cc 3\t\xff", b""]
    )
    assert submodules.entries(listing) == [
        Entry("100644", "aa", 12, "a\tb\n"),
        Entry("160000", "bb", 0, "lib"),
        Entry("120000", "cc", 3, "\udcff"),
    ]
    assert [entry.is_submodule for entry in submodules.entries(listing)] == [False, True, False]


@pytest.mark.parametrize(
    ("child", "same"),
    [
        ("https://git.example:8443/other/x.git", True),
        ("https://git.example/team/x.git", False),
        ("http://git.example:8443/team/x.git", False),
        ("https://git.example.evil:8443/team/x.git", False),
        ("https://sub.git.example:8443/x.git", False),
        ("git@git.example:team/x.git", False),
    ],
)
def test_credentials_go_to_the_server_that_they_are_of(child, same):
    given = Credentials("ada", "secret", ca=b"PEM")
    found = submodules.credentials_for(gitref.parse_url(child), gitref.parse_url(HTTPS), given)
    assert found == (given if same else Credentials(ca=b"PEM"))
    if not same:
        assert not found.authorization()


def test_an_anonymous_source_has_anonymous_submodules():
    other = gitref.parse_url("https://else.example/x.git")
    assert submodules.credentials_for(other, gitref.parse_url(HTTPS), ANONYMOUS) is ANONYMOUS
