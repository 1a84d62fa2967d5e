"""Submodules fetched from real git servers, and .gitmodules written by somebody hostile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import git, submodules
from strata_builder.context.credentials import Credentials
from strata_builder.contract import GitSource
from support import git_server
from support.git_server import HttpServer, Repository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "srv"


@pytest.fixture
def server(root: Path) -> Iterator[HttpServer]:
    with HttpServer(root, "ada", "s3cret") as made:
        yield made


ADA = Credentials("ada", "s3cret")


def link(repo: Repository, path: str, commit: str, url: str, more: str = "") -> str:
    """Commits a submodule as `git submodule add` would, without looking at what it names."""
    (repo.folder / path).mkdir(parents=True)
    git_server.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}", cwd=repo.folder)
    config = repo.folder / ".gitmodules"
    before = config.read_text() if config.exists() else ""
    return repo.commit({".gitmodules": f'{before}[submodule "{path}"]\n\tpath = {path}\n\turl = "{url}"\n{more}'})


def listed(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


def fetched(server: HttpServer, dest: Path, credentials: Credentials | None = ADA, **more: object) -> set[str]:
    source = GitSource(f"{server.url}/app.git", **more)  # type: ignore[arg-type]
    return listed(git.fetch(source, dest, credentials).folder)


@pytest.fixture
def nested(root: Path) -> Repository:
    """app has lib at vendor/lib, which has deep at in/deep; lib has gone on since."""
    deep, lib, app = (Repository.make(root, name) for name in ("deep", "lib", "app"))
    inner = deep.commit({"d.txt": "deep", "sub/e.txt": "e"})
    lib.commit({"l.txt": "lib"})
    pinned = link(lib, "in/deep", inner, "../deep.git")
    lib.commit({"later.txt": "not yet"})
    app.commit({"Dockerfile": "FROM scratch\n"})
    link(app, "vendor/lib", pinned, "../lib.git")
    return app


def test_submodules_come_at_their_commits_and_with_theirs(tmp_path: Path, nested: Repository, server: HttpServer):
    files = fetched(server, tmp_path / "out")
    assert files == {
        "Dockerfile",
        ".gitmodules",
        "vendor/lib/l.txt",
        "vendor/lib/.gitmodules",
        "vendor/lib/in/deep/d.txt",
        "vendor/lib/in/deep/sub/e.txt",
    }
    assert all(header.startswith("Basic ") for path, header in server.log if path.endswith("/git-upload-pack"))


def test_submodules_may_be_left_out(tmp_path: Path, nested: Repository, server: HttpServer):
    assert fetched(server, tmp_path / "out", submodules=False) == {"Dockerfile", ".gitmodules"}
    assert (tmp_path / "out/vendor/lib").is_dir()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("vendor", {"lib/l.txt", "lib/.gitmodules", "lib/in/deep/d.txt", "lib/in/deep/sub/e.txt"}),
        ("vendor/lib", {"l.txt", ".gitmodules", "in/deep/d.txt", "in/deep/sub/e.txt"}),
        ("vendor/lib/in", {"deep/d.txt", "deep/sub/e.txt"}),
        ("vendor/lib/in/deep/sub", {"e.txt"}),
    ],
)
def test_the_folder_of_a_source_may_lie_in_a_submodule(tmp_path, nested, server, path, expected):
    assert fetched(server, tmp_path / "out", path=path) == expected


@pytest.mark.parametrize("path", ["vendor/lib/nosuch", "vendor/lib/in/deep/d.txt"])
def test_a_folder_that_the_submodule_lacks_is_named_with_it(tmp_path, nested, server, path):
    with pytest.raises(errors.SourceNotFound, match="submodule 'vendor/lib'"):
        fetched(server, tmp_path / "out", path=path)


def test_another_server_gets_no_credentials(tmp_path: Path, root: Path, server: HttpServer):
    lib = Repository.make(tmp_path / "else", "lib")
    commit = lib.commit({"l.txt": "lib"})
    with HttpServer(tmp_path / "else") as other:
        app = Repository.make(root, "app")
        link(app, "lib", commit, f"{other.url}/lib.git")
        assert "lib/l.txt" in fetched(server, tmp_path / "out")
        assert other.log
        assert {header for _, header in other.log} == {""}


def test_another_server_that_asks_for_credentials_is_told_so(tmp_path: Path, root: Path, server: HttpServer):
    lib = Repository.make(tmp_path / "else", "lib")
    commit = lib.commit({"l.txt": "lib"})
    with HttpServer(tmp_path / "else", "eve", "x") as other:
        link(Repository.make(root, "app"), "lib", commit, f"{other.url}/lib.git")
        with pytest.raises(errors.SourceAuthFailed, match="submodule 'lib'"):
            fetched(server, tmp_path / "out")


def test_a_submodule_that_git_would_skip_stays_empty(tmp_path: Path, nested: Repository, server: HttpServer):
    link(nested, "off", "1" * 40, "../nosuch.git", "\tupdate = none\n")
    assert "vendor/lib/l.txt" in fetched(server, tmp_path / "out")
    assert fetched(server, tmp_path / "all of it", path="off") == set()
    with pytest.raises(errors.SourceNotFound, match="update = none"):
        fetched(server, tmp_path / "a part", path="off/part")


def test_a_commit_that_the_submodule_lacks_is_told_with_its_path(tmp_path, nested, server):
    link(nested, "gone", "1" * 40, "../lib.git")
    with pytest.raises(errors.ReferenceNotFound, match="submodule 'gone'"):
        fetched(server, tmp_path / "out")


def test_all_submodules_share_the_limit(tmp_path: Path, root: Path, server: HttpServer):
    app = Repository.make(root, "app")
    for name in ("a", "b", "c"):
        commit = Repository.make(root, name).commit({"f": os.urandom(60_000)})
        link(app, name, commit, f"../{name}.git")
    with pytest.raises(errors.InvalidSpec, match=r"submodule 'b'.*larger than"):
        git.fetch(GitSource(f"{server.url}/app.git"), tmp_path / "out", ADA, limit=100_000)


@pytest.mark.parametrize("limit", ["MAX_DEPTH", "MAX_COUNT"])
def test_submodules_without_end_are_refused(tmp_path, nested, server, monkeypatch, limit):
    monkeypatch.setattr(submodules, limit, 1)
    with pytest.raises(errors.InvalidSpec, match="within each other"):
        fetched(server, tmp_path / "out")


@pytest.mark.parametrize(
    "url", ["FILE", "PATH", "ext::sh -c touch%20/OUT", "-u./hook", "--upload-pack=touch OUT", "../../../lib.git"]
)
def test_nothing_runs_and_nothing_local_is_read(tmp_path: Path, root: Path, server: HttpServer, url: str):
    private = Repository.make(tmp_path / "private", "lib")
    commit = private.commit({"private.txt": "mine"})
    url = {"FILE": f"file://{private.bare}", "PATH": str(private.bare)}.get(url, url)
    url = url.replace("OUT", str(tmp_path / "ran"))
    link(Repository.make(root, "app"), "lib", commit, url)
    with pytest.raises(errors.InvalidSpec, match="submodule at 'lib'"):
        fetched(server, tmp_path / "out")
    assert not (tmp_path / "ran").exists()
    assert not list((tmp_path / "out").rglob("private.txt"))


def test_gitmodules_may_not_be_a_link(tmp_path: Path, nested: Repository, server: HttpServer):
    (nested.folder / ".gitmodules").rename(nested.folder / "real")
    (nested.folder / ".gitmodules").symlink_to("real")
    nested.commit({})
    with pytest.raises(errors.InvalidSpec, match="is a link"):
        fetched(server, tmp_path / "out")


def test_gitmodules_includes_nothing(tmp_path: Path, nested: Repository, server: HttpServer):
    text = (nested.folder / ".gitmodules").read_text()
    (tmp_path / "included").write_text(f'[submodule "x"]\n\tpath = vendor/lib\n\turl = {server.url}/other.git\n')
    nested.commit({".gitmodules": f"{text}[include]\n\tpath = {tmp_path}/included\n"})
    assert "vendor/lib/l.txt" in fetched(server, tmp_path / "out")


def test_a_tree_that_no_git_wrote_leads_no_submodule_through_a_link(tmp_path, root, server):
    """Twice the same name: a link, and a folder that has the submodule."""
    lib, app = Repository.make(root, "lib"), Repository.make(root, "app")
    commit = lib.commit({"evil.txt": "x"})
    outside = tmp_path / "outside"
    (outside / "lib").mkdir(parents=True)
    app.commit({".gitmodules": '[submodule "a"]\n\tpath = a/lib\n\turl = ../lib.git\n', "target": str(outside)})
    blob, config = (git_server.git("rev-parse", f"HEAD:{name}", cwd=app.folder) for name in ("target", ".gitmodules"))
    inner = _mktree(app, f"160000 commit {commit}\tlib\n")
    tree = _mktree(app, f"100644 blob {config}\t.gitmodules\n120000 blob {blob}\ta\n040000 tree {inner}\ta\n")
    made = git_server.git("commit-tree", tree, "-m", "evil", cwd=app.folder)
    app.push(f"{made}:refs/heads/main")
    assert "a/lib/evil.txt" in fetched(server, tmp_path / "out")
    assert listed(outside) == set()


def _mktree(repo: Repository, text: str) -> str:
    path = repo.folder / ".tree"
    path.write_text(text)
    return git_server.git("hash-object", "-t", "tree", "-w", "--literally", _tree_file(path), cwd=repo.folder)


def _tree_file(path: Path) -> Path:
    """The records of `ls-tree` as the bytes of a tree object, unsorted and unchecked."""
    data = b""
    for line in path.read_text().splitlines():
        head, name = line.split("\t")
        mode, _, digest = head.split()
        data += f"{mode.lstrip('0')} {name}".encode() + b"\0" + bytes.fromhex(digest)
    raw = path.with_suffix(".raw")
    raw.write_bytes(data)
    return raw
