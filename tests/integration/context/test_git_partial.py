"""A sub-folder of a repository: its files as in a whole fetch, and nothing of the others that the server can keep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import git
from strata_builder.contract import GitSource
from support import git_server
from support.git_server import HttpServer, Repository

MEGABYTE = 1 << 20


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    made = Repository.make(tmp_path / "srv")
    made.commit({
        ".gitattributes": "*.txt eol=crlf\n",
        "web/.gitattributes": "*.html eol=crlf\n",
        "web/app/index.html": "a\n",
        "web/app/deep/read.txt": "b\n",
        "web/app/run.sh": "c\n",
        "web/application/not": os.urandom(MEGABYTE),
        "docs/.gitattributes": "*.txt eol=lf\n",
        "docs/film": os.urandom(MEGABYTE),
    })  # fmt: skip
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


WANTED = {"index.html": b"a\r\n", "deep/read.txt": b"b\r\n", "run.sh": b"c\n"}


@pytest.mark.parametrize("revision", ["main", "v1", "COMMIT"])
def test_only_the_sub_folders_files_are_sent(tmp_path: Path, repo: Repository, revision: str) -> None:
    git_server.git("tag", "-m", "release", "v1", cwd=repo.folder)
    repo.push("v1")
    commit = git_server.git("rev-parse", "HEAD", cwd=repo.folder)
    source = GitSource("", commit if revision == "COMMIT" else revision, path="web/app")
    with HttpServer(repo.bare.parent) as server:
        done = git.fetch(_at(server, source), tmp_path / "out")
    assert contents(done.folder) == WANTED
    assert done.source.commit == commit
    assert server.sent < 20_000
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"web"}


def _at(server: HttpServer, source: GitSource) -> GitSource:
    return GitSource(f"{server.url}/app.git", source.revision, source.commit, source.path, source.submodules)


@pytest.mark.parametrize("smart", [True, False])
@pytest.mark.parametrize("protocol_v2", [True, False])
@pytest.mark.parametrize("filters", [True, False])
def test_every_server_gives_the_same_files(
    tmp_path: Path, repo: Repository, smart: bool, protocol_v2: bool, filters: bool
) -> None:
    with HttpServer(repo.bare.parent, smart=smart, protocol_v2=protocol_v2, filters=filters) as server:
        done = git.fetch(GitSource(f"{server.url}/app.git", "main", path="web/app"), tmp_path / "out")
    assert contents(done.folder) == WANTED


def test_all_is_fetched_where_all_is_wanted(tmp_path: Path, repo: Repository) -> None:
    with HttpServer(repo.bare.parent) as server:
        done = git.fetch(GitSource(f"{server.url}/app.git", "main"), tmp_path / "out")
    assert len(contents(done.folder)) == 8
    assert server.sent > 2 * MEGABYTE


def test_a_kept_git_folder_is_whole(tmp_path: Path, repo: Repository) -> None:
    with HttpServer(repo.bare.parent) as server:
        git.fetch(GitSource(f"{server.url}/app.git", "main", path="web/app"), tmp_path / "out", keep_git_dir=True)
    git_server.git("fsck", "--full", "--strict", cwd=tmp_path / "out")  # the server is gone: what is missing would fail
    assert "promisor" not in (tmp_path / "out/.git/config").read_text()


def test_a_folder_in_a_submodule_brings_only_that_folder(tmp_path: Path, repo: Repository) -> None:
    inner = Repository.make(tmp_path / "srv", "inner")
    inner.commit({"a/file": "1\n", "b/film": os.urandom(MEGABYTE)})
    trusting = ("-c", "protocol.file.allow=always")
    git_server.git(*trusting, "submodule", "--quiet", "add", inner.bare, "lib/inner", cwd=repo.folder)
    git_server.git("config", "-f", ".gitmodules", "submodule.lib/inner.url", "../inner.git", cwd=repo.folder)
    repo.commit({})
    source = GitSource("", "main", path="lib/inner/a", submodules=True)
    with HttpServer(repo.bare.parent) as server:
        done = git.fetch(_at(server, source), tmp_path / "out")
    assert contents(done.folder) == {"file": b"1\n"}
    assert server.sent < 20_000


@pytest.mark.parametrize("path", ["web/none", "web/app/run.sh", "web/app/run.sh/x"])
def test_a_path_that_is_no_folder_is_told_before_any_file_is_sent(tmp_path: Path, repo: Repository, path: str) -> None:
    with HttpServer(repo.bare.parent) as server, pytest.raises(errors.SourceNotFound, match="path 'web"):
        git.fetch(GitSource(f"{server.url}/app.git", "main", path=path), tmp_path / "out")
    assert server.sent < 20_000


def test_what_arrives_for_a_sub_folder_counts_towards_the_limit(tmp_path: Path, repo: Repository) -> None:
    with HttpServer(repo.bare.parent) as server:
        source = GitSource(f"{server.url}/app.git", "main", path="docs")
        with pytest.raises(errors.InvalidSpec, match="larger than 512 KiB"):
            git.fetch(source, tmp_path / "out", limit=MEGABYTE // 2)
        assert git.fetch(GitSource(f"{server.url}/app.git", "main", path="web/app"), tmp_path / "b", limit=1 << 16)
