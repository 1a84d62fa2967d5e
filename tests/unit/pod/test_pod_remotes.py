"""What ADD fetches, through a real server: which Secret an error names, and what of a file an earlier build saw is sent."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from strata_builder import contents, errors
from strata_builder import dockerfile as df
from strata_builder.context import download, gitprogram, validators
from strata_builder.context.memory import EMPTY
from strata_builder.context.validators import Stored
from strata_builder.engine import planner, steps
from strata_builder.engine.options import Options
from strata_builder.engine.selecting import Source
from strata_builder.pod import remotefetch, remotes, storedfiles
from strata_builder.registry import retry
from support import engine_build
from support.file_server import Answer, FileServer

QUICK = download.Client(policy=retry.Policy(attempts=1, sleep=lambda _: None))
HELLO = b"hello\n"
SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
NOTHING: Mapping[str, Stored] = {}
NO: Mapping[str, bytes] = {}
V1 = {"ETag": '"v1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"/f": Answer(HELLO, headers=V1)}) as made:
        yield made


def step(url: str, flags: str = "") -> steps.Step:
    options = Options(context=EMPTY, platform=engine_build.AMD64, build_platform=engine_build.AMD64, runs=False)
    file = df.parse(f"FROM scratch\nADD {flags} {url} /o/\n".encode(), "Dockerfile")
    return planner.make(file, options, engine_build.NoImages()).stages[0].steps[0]


class Build:
    """One build's look at one ADD: all that the cache keeps of it is `known`."""

    def __init__(self, folder: Path, known: Mapping[str, Stored], secrets: Mapping[str, bytes], limit: int) -> None:
        self.store = folder
        fetcher = remotefetch.Fetcher(limit, QUICK, gitprogram.Settings(scratch=folder), secrets)
        self.remotes = remotes.Remotes(self.store, fetcher, lambda: known)

    def source(self, url: str, flags: str = "") -> Source:
        return self.remotes.tree(url, step(url, flags))

    @property
    def kept(self) -> dict[str, Stored]:
        return storedfiles.every(self.store)


class Builds(Protocol):
    def __call__(
        self, known: Mapping[str, Stored] = ..., *, secrets: Mapping[str, bytes] = ..., limit: int = ...
    ) -> Build: ...


@pytest.fixture
def build(tmp_path: Path) -> Builds:
    """One build after another, each with a store of its own."""

    def made(
        known: Mapping[str, Stored] = NOTHING, *, secrets: Mapping[str, bytes] = NO, limit: int = 1 << 20
    ) -> Build:
        return Build(Path(tempfile.mkdtemp(dir=tmp_path)), known, secrets, limit)

    return made


def content(source: Source) -> bytes:
    file = source.tree.open(source.path)
    try:
        return file.read() or b""
    finally:
        file.close()


# what an error tells to do


def test_whose_login_is_missing_is_told_by_the_secret_that_the_build_reads(build: Builds) -> None:
    with FileServer({}, authorization="Bearer tok") as server, pytest.raises(errors.SourceAuthFailed) as caught:
        build().source(f"{server.url}/f")
    assert caught.value.lacks == errors.LOGIN
    assert caught.value.hint == "give the build a token in its secret HTTP_AUTH_TOKEN_127.0.0.1"


@pytest.mark.parametrize("lacks", [errors.LOGIN, errors.AUTHORITY, ""])
@pytest.mark.parametrize("url", ["https://host/f", "https://host/r.git"])
def test_what_is_lacking_decides_the_hint_whatever_the_words(
    build: Builds, monkeypatch: pytest.MonkeyPatch, lacks: str, url: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise errors.SourceAuthFailed("refused", lacks=lacks, hint="words of any kind")

    monkeypatch.setattr(remotefetch.url, "fetch", refuse)
    monkeypatch.setattr(remotefetch.git, "fetch", refuse)
    with pytest.raises(errors.SourceAuthFailed) as caught:
        build().source(url)
    secret = "GIT_AUTH_TOKEN" if url.endswith(".git") else "HTTP_AUTH_TOKEN_host"
    login, authority = f"give the build a token in its secret {secret}", "trust its authority: "
    said = {errors.LOGIN: login, errors.AUTHORITY: authority, "": "words of any kind"}[lacks]
    assert caught.value.hint.startswith(said)


# what is sent again


def test_what_has_not_changed_is_not_sent_again_until_it_is_read(build: Builds, server: FileServer) -> None:
    first = build()
    before = first.source(f"{server.url}/f")
    assert (server.sent, content(before)) == (6, HELLO)
    second = build(first.kept)
    again = second.source(f"{server.url}/f")
    assert (again.entry, again.name, again.dated) == (before.entry, before.name, before.dated)
    assert again.tree.digest(again.path) == before.tree.digest(before.path) == contents.digest(HELLO)
    assert server.sent == 6
    assert server.log[-1][1]["if-none-match"] == '"v1"'
    assert (content(again), server.sent) == (HELLO, 12)
    assert (content(again), server.sent) == (HELLO, 12)
    assert second.kept == first.kept


NEW = b"other!"
CHANGED = {
    "a new version": Answer(NEW, headers={"ETag": '"v2"'}),
    "no validator at all": Answer(NEW),
    "a weak tag": Answer(NEW, headers={"ETag": 'W/"v1"'}),
    "a time alone, unchanged": Answer(NEW, headers={"Last-Modified": V1["Last-Modified"]}),
    "an answer that ignores the question": Answer(NEW, headers={"Server": "old"}),
    "the tag again, of another time": Answer(NEW, headers={**V1, "Last-Modified": "Wed, 21 Oct 2015 07:28:09 GMT"}),
}


@pytest.mark.parametrize("name", CHANGED)
def test_no_other_word_of_a_server_stands_for_the_content(build: Builds, server: FileServer, name: str) -> None:
    first = build()
    first.source(f"{server.url}/f")
    server.answers["/f"] = CHANGED[name]
    assert content(build(first.kept).source(f"{server.url}/f")) == NEW


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"v1"'}, {"Last-Modified": V1["Last-Modified"]}, {"ETag": "v1"}])
def test_a_server_without_a_strong_tag_is_asked_for_all_each_time(
    build: Builds, server: FileServer, headers: dict[str, str]
) -> None:
    server.answers["/f"] = Answer(HELLO, headers=headers)
    first = build()
    first.source(f"{server.url}/f")
    build(first.kept).source(f"{server.url}/f")
    assert server.sent == 12
    assert "if-none-match" not in server.log[-1][1]


def test_a_tag_counts_only_where_it_was_given(build: Builds, server: FileServer) -> None:
    server.answers |= {"/v1": Answer(HELLO, headers={"ETag": '"1"'}), "/v2": Answer(NEW, headers={"ETag": '"1"'})}
    server.answers["/latest"] = Answer(status=302, headers={"Location": "/v1?signed=1"})
    first = build()
    assert content(first.source(f"{server.url}/latest")) == HELLO
    server.answers["/latest"] = Answer(status=302, headers={"Location": "/v1?signed=2"})
    build(first.kept).source(f"{server.url}/latest")
    assert server.sent == 6
    server.answers["/latest"] = Answer(status=302, headers={"Location": "/v2"})
    assert content(build(first.kept).source(f"{server.url}/latest")) == NEW


def test_a_304_that_nobody_asked_for_is_a_fault_not_an_empty_file(build: Builds, server: FileServer) -> None:
    server.answers["/f"] = Answer(status=304)
    with pytest.raises(errors.SourceNotFound, match="answered 304"):
        build().source(f"{server.url}/f")


def test_a_checksum_that_is_known_needs_no_request(build: Builds, server: FileServer) -> None:
    server.answers["/f"] = Answer(HELLO)  # no validator: the checksum is enough
    first = build()
    first.source(f"{server.url}/f")
    asked = len(server.log)
    assert build(first.kept).source(f"{server.url}/f", f"--checksum=sha256:{SHA256}").entry.size == 6
    assert len(server.log) == asked
    with pytest.raises(errors.SourceNotFound, match=f"has the sha256 {SHA256}, but {'0' * 64}"):
        build(first.kept).source(f"{server.url}/f", f"--checksum=sha256:{'0' * 64}")


def test_a_login_that_is_taken_back_is_asked_for_though_the_file_is_known(build: Builds) -> None:
    with FileServer({"/f": Answer(HELLO, headers=V1)}, authorization="Bearer tok") as server:
        first = build(secrets={"HTTP_AUTH_TOKEN_127.0.0.1": b"tok"})
        first.source(f"{server.url}/f")
        with pytest.raises(errors.SourceAuthFailed):
            build(first.kept).source(f"{server.url}/f")


def test_what_is_known_is_still_measured(build: Builds, server: FileServer) -> None:
    first = build()
    first.source(f"{server.url}/f")
    with pytest.raises(errors.InvalidSpec, match="larger than 4 bytes"):
        build(first.kept, limit=4).source(f"{server.url}/f")


def test_a_file_that_changes_between_key_and_layer_is_an_error_that_is_retried(
    build: Builds, server: FileServer
) -> None:
    first = build()
    first.source(f"{server.url}/f")
    source = build(first.kept).source(f"{server.url}/f")
    server.answers["/f"] = Answer(NEW, headers={"ETag": '"v2"'})
    with pytest.raises(errors.SourceUnavailable, match="changed while it was built"):
        content(source)


def test_a_container_that_cannot_fetch_reads_what_was_completed(build: Builds, server: FileServer) -> None:
    url = f"{server.url}/f"
    first = build()
    first.source(url)
    fetching = build(first.kept)
    fetching.source(url)
    reading = remotes.Remotes(fetching.store)
    with pytest.raises(errors.InfrastructureFailed, match="was not fetched"):
        content(reading.tree(url, step(url)))
    fetching.remotes.complete(step(url))
    assert content(reading.tree(url, step(url))) == HELLO


def test_a_damaged_note_of_a_file_is_an_error_not_a_file(build: Builds, server: FileServer) -> None:
    one = build()
    one.source(f"{server.url}/f")
    place = next(one.store.iterdir())
    (place / "about.json").write_text((place / "about.json").read_text().replace('"f"', '"../f"'))
    with pytest.raises(errors.InfrastructureFailed, match="what fetch left of an ADD"):
        one.source(f"{server.url}/f")


def test_ids_of_urls_are_those_that_the_cache_keeps(build: Builds, server: FileServer) -> None:
    one = build()
    one.source(f"{server.url}/f")
    assert list(one.kept) == [validators.url_id(f"{server.url}/f")]


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/größe", "/gr%C3%B6%C3%9Fe"), ("/gr%C3%B6%C3%9Fe", "/gr%C3%B6%C3%9Fe"), ("/a?q=ü&r=%2F+", "/a?q=%C3%BC&r=%2F+")],
)
def test_a_url_that_is_not_in_ascii_is_asked_for_as_browsers_do(build: Builds, path: str, asked: str) -> None:
    with FileServer({asked.partition("?")[0]: Answer(HELLO)}) as server:
        assert content(build().source(f"{server.url}{path}")) == HELLO
        assert [line for line, _ in server.log] == [asked]


def test_a_file_that_the_disk_took_the_beginning_of_is_none(build: Builds, server: FileServer) -> None:
    """As of a write to a disk that is nearly full, of which the rest would be missing in the image."""
    one, before = build(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(HELLO) - 1, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            one.source(f"{server.url}/f")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(one.store.rglob("content"))


def test_a_redirect_that_is_not_in_ascii_is_followed(build: Builds) -> None:
    to = "/größe".encode().decode("latin-1")  # as headers are read and written
    answers = {"/f": Answer(status=302, headers={"Location": to}), "/gr%C3%B6%C3%9Fe": Answer(HELLO)}
    with FileServer(answers) as server:
        assert content(build().source(f"{server.url}/f")) == HELLO


def test_a_host_that_is_not_in_ascii_is_no_outage(build: Builds) -> None:
    with pytest.raises(errors.InvalidSpec, match=r"the host of .* is not written in ASCII") as caught:
        build().source("https://größe.example/f")
    assert "xn--" in caught.value.hint


@pytest.mark.parametrize("url", ["https://[x/f", "http://a]/f", "https://[::1/f", "https://h:99999/f"])
def test_what_is_no_url_is_refused_before_anything_is_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(errors.InvalidSpec, match="is not an http or https URL"):
        Build(tmp_path, NOTHING, NO, 100).source(url)
