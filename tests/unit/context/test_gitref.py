"""URLs of repositories, names of revisions, folders in them."""

from __future__ import annotations

import pytest

from strata_builder import errors
from strata_builder.context import gitref
from strata_builder.contract import GitSource

URLS = [
    ("https://github.com/team/app", "https://github.com/team/app", "https://github.com", "", ""),
    ("HTTPS://ada:p%40ss@Host.example:8443/a.git", "https://host.example:8443/a.git",
     "https://host.example:8443", "ada", "p@ss"),
    ("https://token@host/a", "https://host/a", "https://host", "token", ""),
    ("ssh://git@host:2222/team/app.git", "ssh://git@host:2222/team/app.git", "ssh://host:2222", "git", ""),
    ("git@github.com:team/app.git", "git@github.com:team/app.git", "ssh://github.com", "git", ""),
    ("http://[::1]:80/a.git", "http://[::1]:80/a.git", "http://[::1]:80", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "address", "origin", "user", "password"), URLS)
def test_a_url_is_taken_apart(text: str, address: str, origin: str, user: str, password: str) -> None:
    url = gitref.parse_url(text)
    assert (url.address, url.origin, url.user, url.password) == (address, origin, user, password)
    assert not password or password not in repr(url) + str(url)


@pytest.mark.parametrize(
    "text",
    [
        "", "-oProxyCommand=x", "ext::sh -c x", "file:///etc", "/srv/app.git", "git://host/a", "https://host", "https://",
        "ssh://-oProxyCommand=x/a", "https://host/a b", "https://host/a\nb", "https://host:99999/a", "fd::1", "../app",
        "ssh://-l@host/a", "https://ho%20st/a", "javascript:alert(1)", "ssh://\udcff@host/a", "https://host/\ud800", "https://h/a\u2028b",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_repository_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidSpec):
        gitref.parse_url(text)


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(errors.InvalidSpec) as caught:
        gitref.parse_url("ftp://ada:s3cret@host/a")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "main", "feature/x-1.2", "refs/pull/12/head", "v1.0", "a" * 40, "ünï", "release@2"]
)
def test_a_revision_that_git_takes(text: str) -> None:
    assert gitref.check_revision(text) == text


@pytest.mark.parametrize(
    "text",
    ["-x", "--upload-pack=x", "a b", "a..b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a@{1}", "/a", "a/", "a.",
     ".a",
     "a/.b", "a.lock", "a.lock/b", "a//b", "@", "a\nb", "a\x00", "x" * 256],
)  # fmt: skip
def test_a_revision_that_is_none(text: str) -> None:
    with pytest.raises(errors.InvalidSpec, match="cannot be the name"):
        gitref.check_revision(text)


@pytest.mark.parametrize(("text", "clean"), [("", ""), ("./a//b/", "a/b"), ("/a", "a"), ("...", "..."), (".", "")])
def test_a_folder_is_cleaned(text: str, clean: str) -> None:
    assert gitref.check_folder(text) == clean


@pytest.mark.parametrize("text", ["..", "a/../..", "a/../b", ".git", "a/.git/hooks", "a\nb"])
def test_a_folder_outside_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidSpec, match="not a folder inside"):
        gitref.check_folder(text)


COMMIT = "a" * 40
CONTEXTS = [
    ("https://host/app.git", GitSource("https://host/app.git")),
    ("https://host/app.git#main", GitSource("https://host/app.git", "main")),
    ("https://host/app.git#main:sub/dir", GitSource("https://host/app.git", "main", path="sub/dir")),
    ("https://host/app.git#:sub", GitSource("https://host/app.git", path="sub")),
    (f"git@host:team/app.git#{COMMIT}", GitSource("git@host:team/app.git", COMMIT)),
    ("ssh://git@host/app", GitSource("ssh://git@host/app")),
    ("github.com/team/app#v1", GitSource("https://github.com/team/app", "v1")),
    ("https://host/app.git?tag=v1&subdir=a", GitSource("https://host/app.git", "refs/tags/v1", path="a")),
    (f"https://host/app.git?branch=b&commit={COMMIT}", GitSource("https://host/app.git", "refs/heads/b", COMMIT)),
    ("file:///srv/app.git#main", GitSource("file:///srv/app.git", "main")),
    ("https://host/app.tar.gz", None),
    ("https://host/app", None),
    (".", None),
    ("./dir.git", None),
    ("-", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "source"), CONTEXTS)
def test_a_context_on_a_command_line(text: str, source: GitSource | None) -> None:
    assert gitref.parse_context(text) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://host/app.git#a..b", "cannot be the name"),
        ("https://host/app.git#main:../x", "not a folder inside"),
        ("https://host/app.git?depth=1", "option .depth= of a git URL is not known"),
        ("https://host/app.git?tag=a&branch=b", "give one of"),
        ("https://host/app.git?commit=abc", "all its characters"),
    ],
)
def test_a_context_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(errors.BuildError, match=message):
        gitref.parse_context(text)
