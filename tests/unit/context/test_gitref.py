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


@pytest.mark.parametrize(
    "text",
    ["ftp://ada:s3cret@host/a", "ftp://s3cret@host/a", "https://ada:s3cret/more@host/a", "https://ada:1s3cret#x@host/a",
     "https://ada:no@s3cret@host:x/a", "https://s3cret@ho\uff0fst/a", "ssh://ada:s3cret@-host/a", "https://s3cret@host",
     "https://" + "s3cret" * 1000 + "@host", "https://ada:" + "s3cret" * 1000 + "@ho st/a"],
)  # fmt: skip
def test_a_refused_url_does_not_show_what_logs_in(text: str) -> None:
    with pytest.raises(errors.InvalidSpec) as caught:
        gitref.parse_url(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://host:80/a@v1",
        "ssh://git@host/a",
        "git@host:team/app",
        "https://[::1]:80/a@v1",
        "https://host/a?b=c@d",
        "a b",
    ],
)
def test_what_logs_nobody_in_is_shown(text: str) -> None:
    assert gitref.shown(text) == text


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
APP = "https://host/app.git"
CONTEXTS = [
    ("https://host/app.git", GitSource(APP)),
    ("https://host/app.git#main", GitSource(APP, "main")),
    ("https://host/app.git#main:sub/dir", GitSource(APP, "main", path="sub/dir")),
    ("https://host/app.git#:sub", GitSource(APP, path="sub")),
    (f"git@host:team/app.git#{COMMIT}", GitSource("git@host:team/app.git", COMMIT)),
    ("git@host:team/app.git?ref=v1#:sub", GitSource("git@host:team/app.git", "v1", path="sub")),
    ("ssh://git@host/app", GitSource("ssh://git@host/app")),
    ("github.com/team/app#v1", GitSource("https://github.com/team/app", "v1")),
    ("https://host/app.git?tag=v1&subdir=a", GitSource(APP, "refs/tags/v1", path="a")),
    ("https://host/app.git?tag=refs/tags/v1#refs/tags/v1:a", GitSource(APP, "refs/tags/v1", path="a")),
    ("https://host/app.git?branch=b", GitSource(APP, "refs/heads/b")),
    ("https://host/app.git?branch=refs/heads/b", GitSource(APP, "refs/heads/b")),
    ("https://host/app.git?ref=a#a", GitSource(APP, "a")),
    ("https://host/app.git?subdir=/a/#:a", GitSource(APP, path="a")),
    ("https://host/app.git?submodules=0", GitSource(APP, submodules=False)),
    ("https://host/app.git?submodules&mtime=commit", GitSource(APP)),
    (f"https://host/app.git?ref=b&commit={COMMIT}&fetch-by-commit", GitSource(APP, "b", COMMIT)),
    ("file:///srv/app.git#main", GitSource("file:///srv/app.git", "main")),
    ("https://host/app.git/", None),
    ("https://host/app.tar.gz", None),
    ("https://host/app", None),
    (".", None),
    ("./dir.git", None),
    ("-", None),
]


@pytest.mark.parametrize(("text", "source"), CONTEXTS)
def test_a_repository_and_what_of_it_is_wanted(text: str, source: GitSource | None) -> None:
    found = gitref.parse_context(text)
    assert (found and found.source) == source


@pytest.mark.parametrize(
    ("query", "checksum", "keep"),
    [
        ("", "", None),
        ("?checksum=ABC1", "abc1", None),
        (f"?commit={COMMIT}&checksum={COMMIT}", COMMIT, None),
        ("?keep-git-dir", "", True),
        ("?keep-git-dir=F", "", False),
        ("?keep-git-dir=1&commit=0", "0", True),
    ],
)
def test_what_a_query_says_besides(query: str, checksum: str, keep: bool | None) -> None:
    found = gitref.parse_context(APP + query)
    assert found is not None
    assert (found.source, found.checksum, found.keep_git_dir) == (GitSource(APP), checksum, keep)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#a..b", "cannot be the name"),
        ("#main:../x", "not a folder inside"),
        ("?depth=1", "an option that is not known: depth="),
        ("?tag=a&branch=b", "more than one ref: refs/heads/b, refs/tags/a"),
        ("?tag=a#b", "more than one ref: refs/tags/a, b"),
        ("?subdir=a#:b", "more than one subdir"),
        ("?ref=a&ref=a", "gives an option twice"),
        ("?ref=", "gives ref= no value"),
        ("?tag", "gives tag= no value"),
        ("?checksum=a&commit=b", "more than one commit"),
        ("?commit=main", "'main' of a git repository is not the name of a commit"),
        ("?submodules=maybe", "neither true nor false"),
        ("?mtime=now", "neither checkout nor commit"),
        ("?fetch-by-commit&commit=abc", "all its characters"),
    ],
)
def test_a_context_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(errors.InvalidSpec, match=message):
        gitref.parse_context(APP + text)
