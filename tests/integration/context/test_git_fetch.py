"""Fetching commits from real git servers: file, HTTP with and without credentials, HTTPS, ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context import git, gitprogram, gitremote
from strata_builder.context.credentials import Credentials
from strata_builder.contract import GitSource, SourceResult
from support import git_server
from support.git_server import HttpServer, Repository

FILES: dict[str, str | bytes | None] = {"Dockerfile": "FROM scratch\n", "web/index.html": "hello", "web/deep/x": "y"}


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    made = Repository.make(tmp_path / "srv")
    made.commit(FILES, "First\n\nbody")
    return made


def listed(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


def head(repo: Repository) -> str:
    return git_server.git("rev-parse", "HEAD", cwd=repo.folder)


@pytest.mark.parametrize("revision", ["", "main", "refs/heads/main", "HEAD", "COMMIT"])
def test_a_revision_in_each_of_its_forms(tmp_path: Path, repo: Repository, revision: str) -> None:
    revision = head(repo) if revision == "COMMIT" else revision
    with HttpServer(repo.bare.parent) as server:
        done = git.fetch(GitSource(f"{server.url}/app.git", revision), tmp_path / "out")
    assert listed(done.folder) == set(FILES)
    assert done.source == SourceResult(revision, head(repo), "First", "Ada Lovelace", 1709294400)


def test_the_commit_that_the_operator_saw_wins_over_a_branch_that_moved(tmp_path: Path, repo: Repository) -> None:
    seen = head(repo)
    repo.commit({"new": "file"})
    with HttpServer(repo.bare.parent) as server:
        done = git.fetch(GitSource(f"{server.url}/app.git", "main", seen), tmp_path / "out")
        assert gitremote.ls_remote(f"{server.url}/app.git", "main") == head(repo) != seen
    assert done.source.commit == seen
    assert "new" not in listed(done.folder)


@pytest.mark.parametrize("kind", ["annotated", "lightweight"])
def test_a_tag_is_the_commit_that_it_is_of(tmp_path: Path, repo: Repository, kind: str) -> None:
    git_server.git("tag", *(["-m", "release"] if kind == "annotated" else []), "v1.0", cwd=repo.folder)
    repo.push("v1.0")
    with HttpServer(repo.bare.parent) as server:
        found = gitremote.resolve(f"{server.url}/app.git", "v1.0")
        done = git.fetch(GitSource(f"{server.url}/app.git", "v1.0"), tmp_path / "out")
    tag = git_server.git("rev-parse", "v1.0", cwd=repo.folder) if kind == "annotated" else ""
    assert found == gitremote.Resolved("refs/tags/v1.0", head(repo), tag)
    assert done.source.commit == head(repo)


@pytest.mark.parametrize("revision", ["", "main", "v1.0", "COMMIT"])
def test_a_checksum_is_the_begin_of_the_commits_name(tmp_path: Path, repo: Repository, revision: str) -> None:
    git_server.git("tag", "-m", "release", "v1.0", cwd=repo.folder)
    repo.push("v1.0")
    named = [head(repo), head(repo)[:7]] + [git_server.git("rev-parse", "v1.0", cwd=repo.folder)] * (revision == "v1.0")
    source = GitSource("", head(repo) if revision == "COMMIT" else revision)
    with HttpServer(repo.bare.parent) as server:
        source = replace(source, url=f"{server.url}/app.git")
        for number, checksum in enumerate(named):
            done = git.fetch(source, tmp_path / str(number), checksum=checksum)
            assert done.source.commit == head(repo)
        said = f"at {head(repo)}, and the checksum asks for f00d"
        with pytest.raises(errors.ReferenceNotFound, match=said):
            git.fetch(source, tmp_path / "wrong", checksum="f00d")
    assert not (tmp_path / "wrong").exists()


def test_only_the_sub_folder_is_written(tmp_path: Path, repo: Repository) -> None:
    with HttpServer(repo.bare.parent) as server:
        done = git.fetch(GitSource(f"{server.url}/app.git", path="./web/"), tmp_path / "out")
    assert done.folder == tmp_path / "out/web"
    assert listed(tmp_path / "out") == {"web/index.html", "web/deep/x"}


def test_modes_are_gits_and_links_stay_links(tmp_path: Path, repo: Repository) -> None:
    (repo.folder / "run.sh").write_text("#!/bin/sh")
    (repo.folder / "run.sh").chmod(0o777)
    (repo.folder / "private").write_text("x")
    (repo.folder / "private").chmod(0o600)
    os.symlink("../../etc/passwd", repo.folder / "link")
    repo.commit({})
    old = os.umask(0o077)
    try:
        with HttpServer(repo.bare.parent) as server:
            folder = git.fetch(GitSource(f"{server.url}/app.git"), tmp_path / "out").folder
    finally:
        os.umask(old)
    modes = {name: (folder / name).stat().st_mode & 0o7777 for name in ("run.sh", "private", "web")}
    assert modes == {"run.sh": 0o755, "private": 0o644, "web": 0o755}
    assert (folder / "link").readlink() == Path("../../etc/passwd")
    assert not (folder / ".git").exists()


def test_folders_take_nothing_over_from_where_they_are_put(tmp_path: Path, repo: Repository) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o2775)
    with HttpServer(repo.bare.parent) as server:
        folder = git.fetch(GitSource(f"{server.url}/app.git"), volume / "below" / "out").folder
    assert {path.stat().st_mode & 0o7777 for path in (folder, folder / "web", folder / "web/deep")} == {0o755}


def test_the_git_folder_stays_if_asked(tmp_path: Path, repo: Repository) -> None:
    with HttpServer(repo.bare.parent) as server:
        folder = git.fetch(GitSource(f"{server.url}/app.git"), tmp_path / "out", keep_git_dir=True).folder
        assert git_server.git("remote", "get-url", "origin", cwd=folder) == f"{server.url}/app.git"
    assert git_server.git("rev-parse", "HEAD", cwd=folder) == head(repo)
    assert git_server.git("status", "--porcelain", cwd=folder) == ""


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "does not exist"), ("Dockerfile", "is not a folder"), ("link", "is not a folder")],
)
def test_a_sub_folder_that_is_none(tmp_path: Path, repo: Repository, path: str, message: str) -> None:
    os.symlink("/etc", repo.folder / "link")
    repo.commit({})
    with HttpServer(repo.bare.parent) as server, pytest.raises(errors.SourceNotFound, match=message):
        git.fetch(GitSource(f"{server.url}/app.git", path=path), tmp_path / "out")


def test_a_path_that_leaves_the_repository_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidSpec, match="not a folder inside the source"):
        git.fetch(GitSource("https://host.invalid/app.git", path="web/../../etc"), tmp_path / "out")


@pytest.mark.parametrize("smart", [True, False], ids=["refuses to give a commit by its name", "plain files"])
def test_an_old_server_gives_all_its_history_instead(tmp_path: Path, repo: Repository, smart: bool) -> None:
    wanted = head(repo)
    repo.commit({"later": ""})
    git_server.git("gc", "--quiet", cwd=repo.bare)
    git_server.git("update-server-info", cwd=repo.bare)
    with HttpServer(repo.bare.parent, smart=smart, protocol_v2=False) as server:
        done = git.fetch(GitSource(f"{server.url}/app.git", "main", wanted), tmp_path / "out")
    assert done.source.commit == wanted
    assert listed(done.folder) == set(FILES)


@pytest.mark.parametrize(
    ("written", "time"),
    [("9223372036854775806 +0000", 2**33), ("99999999999999 +0000", 2**33), ("-5 +0000", 0), ("soon", 0), ("", 0)],
)
def test_a_commit_may_say_any_time(tmp_path: Path, repo: Repository, written: str, time: int) -> None:
    tree = git_server.git("rev-parse", "HEAD^{tree}", cwd=repo.folder)
    text = f"tree {tree}\nauthor A <a@b> {written}\ncommitter A <a@b> {written}\n\nmessage\n"
    (tmp_path / "commit").write_text(text)
    made = git_server.git("hash-object", "-t", "commit", "-w", "--literally", tmp_path / "commit", cwd=repo.folder)
    repo.push(f"{made}:refs/heads/odd")
    with HttpServer(repo.bare.parent) as server:
        done = git.fetch(GitSource(f"{server.url}/app.git", "odd"), tmp_path / "out")
    assert (done.source.commit, done.source.time, done.time) == (made, time, time or None)


def test_a_repository_of_sha256(tmp_path: Path) -> None:
    repo = Repository.make(tmp_path / "srv", format="--object-format=sha256")
    commit = repo.commit(FILES)
    with HttpServer(repo.bare.parent) as server:
        done = git.fetch(GitSource(f"{server.url}/app.git", "main"), tmp_path / "out")
    assert (len(commit), done.source.commit) == (64, commit)


def test_a_local_repository_must_be_allowed(tmp_path: Path, repo: Repository) -> None:
    with pytest.raises(errors.InvalidSpec, match="not a git URL that a build can use"):
        git.fetch(GitSource(f"file://{repo.bare}"), tmp_path / "out")
    done = git.fetch(GitSource(f"file://{repo.bare}", "main"), tmp_path / "out", local=True)
    assert done.source.commit == head(repo)


# credentials

PASSWORD = "s3cr&t/w@rd"  # characters that a URL would have to escape


@pytest.fixture
def private(repo: Repository, tmp_path: Path) -> Iterator[tuple[HttpServer, bytes]]:
    tls, ca = git_server.server_tls(tmp_path / "pki")
    with HttpServer(repo.bare.parent, user="ada", password=PASSWORD, tls=tls) as server:
        yield server, ca


def test_https_with_a_password_and_an_own_authority(
    tmp_path: Path, repo: Repository, private: tuple[HttpServer, bytes]
) -> None:
    server, ca = private
    credentials = Credentials("ada", PASSWORD, ca=ca)
    assert gitremote.ls_remote(f"{server.url}/app.git", "main", credentials) == head(repo)
    done = git.fetch(GitSource(f"{server.url}/app.git", "main"), tmp_path / "out", credentials)
    assert done.source.commit == head(repo)


def test_a_password_in_the_url_serves_and_is_never_shown(tmp_path: Path, private: tuple[HttpServer, bytes]) -> None:
    server, ca = private
    url = f"{server.url}/app.git".replace("://", "://ada:s3cr%26t%2Fw%40rd@")
    assert git.fetch(GitSource(url), tmp_path / "out", Credentials(ca=ca)).source.commit
    with pytest.raises(errors.SourceNotFound) as caught:
        git.fetch(GitSource(url.replace("app.git", "none.git")), tmp_path / "other", Credentials(ca=ca))
    assert "s3cr" not in str(caught.value)


def test_the_wrong_password(tmp_path: Path, private: tuple[HttpServer, bytes]) -> None:
    server, ca = private
    with pytest.raises(errors.SourceAuthFailed, match="refused the credentials") as caught:
        git.fetch(GitSource(f"{server.url}/app.git"), tmp_path / "out", Credentials("ada", "wr0ng", ca=ca))
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(errors.SourceAuthFailed, match=r"asks for some[^\n]*\nhint: set source.git.secretRef"):
        gitremote.ls_remote(f"{server.url}/app.git", "main", Credentials(ca=ca))


def test_a_certificate_that_is_not_trusted(private: tuple[HttpServer, bytes]) -> None:
    server, _ = private
    with pytest.raises(errors.SourceAuthFailed, match=r"certificate of .* is not trusted"):
        gitremote.ls_remote(f"{server.url}/app.git", "main", Credentials("ada", PASSWORD))


def test_no_secret_is_on_a_command_line_nor_in_the_environment(
    tmp_path: Path, private: tuple[HttpServer, bytes]
) -> None:
    server, ca = private
    spy = tmp_path / "git"
    seen = tmp_path / "seen"
    spy.write_text(f'#!/bin/sh\n{{ echo "$@"; env; }} >> {seen}\nexec {shutil.which("git")} "$@"\n')
    spy.chmod(0o755)
    settings = gitprogram.Settings(git=str(spy))
    git.fetch(
        GitSource(f"{server.url}/app.git"), tmp_path / "out", Credentials("ada", PASSWORD, ca=ca), settings=settings
    )
    assert "fetch" in seen.read_text()
    assert PASSWORD not in seen.read_text()


def test_a_bearer_token(tmp_path: Path, repo: Repository) -> None:
    with HttpServer(repo.bare.parent, token="t0ken") as server:
        source = GitSource(f"{server.url}/app.git")
        assert git.fetch(source, tmp_path / "out", Credentials(bearer_token="t0ken")).source.commit == head(repo)
        with pytest.raises(errors.SourceAuthFailed) as caught:
            git.fetch(source, tmp_path / "other", Credentials(bearer_token="0ther"))
    assert "0ther" not in str(caught.value)


@pytest.mark.parametrize("credentials", [Credentials("ada", "pw"), Credentials(bearer_token="t0ken")])
def test_credentials_do_not_follow_a_redirect(repo: Repository, credentials: Credentials) -> None:
    with (
        HttpServer(repo.bare.parent, user="ada", password="pw") as thief,
        HttpServer(repo.bare.parent, redirect=thief.url) as server,
        pytest.raises(errors.SourceError),
    ):
        gitremote.ls_remote(f"{server.url}/app.git", "main", credentials)
    assert {header for _, header in thief.log} <= {""}


def test_a_pinned_address_is_the_only_one_that_is_asked(repo: Repository) -> None:
    settings = gitprogram.Settings(pinned="127.0.0.1")
    with HttpServer(repo.bare.parent) as server:
        url = f"http://pinned.invalid:{server.port}/app.git"
        assert gitremote.ls_remote(url, "main", settings=settings) == head(repo)
        with (
            HttpServer(repo.bare.parent, redirect=server.url) as front,
            pytest.raises(errors.SourceNotFound, match="somewhere else now"),
        ):
            gitremote.ls_remote(f"http://pinned.invalid:{front.port}/app.git", "main", settings=settings)


def test_settings_of_the_machine_play_no_part(
    tmp_path: Path, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text('[url "http://nowhere.invalid/"]\n\tinsteadOf = http://127.0.0.1')
    commit = head(repo)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    with HttpServer(repo.bare.parent) as server:
        assert gitremote.ls_remote(f"{server.url}/app.git") == commit
        with pytest.raises(errors.SourceUnavailable, match=r"[Cc]ould not resolve host"):
            gitremote.ls_remote(f"{server.url}/app.git", settings=gitprogram.Settings(host_settings=True))


def test_a_hook_in_a_template_does_not_run(tmp_path: Path, repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = tmp_path / "template/hooks/post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    with HttpServer(repo.bare.parent) as server:
        git.fetch(GitSource(f"{server.url}/app.git"), tmp_path / "out")
    assert not (tmp_path / "ran").exists()


# what is not there

NOT_THERE = [
    ("none.git", "main", errors.SourceNotFound, "there is no repository"),
    ("app.git", "nope", errors.ReferenceNotFound, "no branch or tag 'nope'"),
    ("app.git", "abcdef1", errors.ReferenceNotFound, "must have all its characters"),
    ("app.git", "0" * 39 + "1", errors.ReferenceNotFound, "does not have that revision|no commit 0000"),
]


@pytest.mark.parametrize(("name", "revision", "kind", "message"), NOT_THERE)
def test_what_is_not_there(
    tmp_path: Path, repo: Repository, name: str, revision: str, kind: type[errors.BuildError], message: str
) -> None:
    with HttpServer(repo.bare.parent) as server, pytest.raises(kind, match=message):
        git.fetch(GitSource(f"{server.url}/{name}", revision), tmp_path / "out")


def test_an_empty_repository_has_no_default_branch(tmp_path: Path) -> None:
    Repository.make(tmp_path / "srv")
    with HttpServer(tmp_path / "srv") as server, pytest.raises(errors.ReferenceNotFound, match="it is empty"):
        gitremote.ls_remote(f"{server.url}/app.git")


def test_a_server_that_is_away_is_retried() -> None:
    with pytest.raises(errors.SourceUnavailable) as caught:
        gitremote.ls_remote("http://127.0.0.1:9/app.git", timeout=5)
    assert caught.value.retryable


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\nsleep 60\n")
    fake.chmod(0o755)
    with pytest.raises(errors.SourceUnavailable, match="did not answer in time"):
        gitremote.ls_remote("https://host.invalid/x.git", timeout=0.3, settings=gitprogram.Settings(git=str(fake)))
    assert subprocess.run(["pgrep", "-f", str(fake)], check=False, capture_output=True).stdout == b""


# limits

MESSAGE = r"the context is larger than 64 KiB \(65536 bytes\)"


def test_more_than_the_limit_is_not_written(tmp_path: Path, repo: Repository) -> None:
    repo.commit({"bomb": b"\0" * 200_000})  # compresses to nothing: the files' sizes count, not the pack's
    with HttpServer(repo.bare.parent) as server:
        source = GitSource(f"{server.url}/app.git")
        with pytest.raises(errors.InvalidSpec, match=MESSAGE):
            git.fetch(source, tmp_path / "out", limit=65536)
        assert not (tmp_path / "out/bomb").exists()
        inside = GitSource(source.url, path="web")
        assert listed(git.fetch(inside, tmp_path / "web", limit=65536).folder) == {"index.html", "deep/x"}


def test_more_than_the_limit_is_not_downloaded(tmp_path: Path, repo: Repository) -> None:
    repo.commit({"noise": os.urandom(3_000_000)})
    slow = tmp_path / "git"
    slow.write_text(f'#!/bin/sh\n{shutil.which("git")} "$@" || exit 1\n[ "$1" = fetch ] && sleep 60\nexit 0\n')
    slow.chmod(0o755)
    with HttpServer(repo.bare.parent) as server, pytest.raises(errors.InvalidSpec, match=MESSAGE):
        git.fetch(
            GitSource(f"{server.url}/app.git"), tmp_path / "out", limit=65536, settings=gitprogram.Settings(str(slow))
        )


# ssh


@pytest.mark.root
@pytest.mark.skipif(shutil.which("sshd") is None, reason="OpenSSH's server is not installed")
def test_ssh_with_a_key_and_known_hosts(tmp_path: Path, repo: Repository) -> None:
    with git_server.sshd(tmp_path / "ssh") as server:
        url = f"{server.url}{repo.bare}"
        good = Credentials(identity=server.identity.rstrip(b"\n"), known_hosts=server.known_hosts)
        assert git.fetch(GitSource(url, "main"), tmp_path / "out", good).source.commit == head(repo)
        with pytest.raises(errors.SourceAuthFailed, match="no known_hosts"):
            gitremote.ls_remote(url, "main", Credentials(identity=server.identity))
        with pytest.raises(errors.SourceAuthFailed, match=r"no identity\n.*private key"):
            gitremote.ls_remote(url, "main")
        other = server.known_hosts.replace(b"AAAA", b"AAAB")
        stranger = Credentials(identity=server.identity, known_hosts=other)
        with pytest.raises(errors.SourceAuthFailed, match="host key"):
            gitremote.ls_remote(url, "main", stranger)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
        pinned = gitprogram.Settings(pinned="127.0.0.1")
        named = Credentials(
            identity=server.identity, known_hosts=server.known_hosts.replace(b"127.0.0.1", b"pinned.invalid")
        )
        elsewhere = url.replace("127.0.0.1", "pinned.invalid")
        assert gitremote.ls_remote(elsewhere, "main", named, settings=pinned) == head(repo)
        wrong = Credentials(identity=(tmp_path / "k").read_bytes(), known_hosts=server.known_hosts)
        with pytest.raises(errors.SourceAuthFailed, match="refused the credentials"):
            gitremote.ls_remote(url, "main", wrong)
        with pytest.raises(errors.SourceNotFound, match="no repository"):
            gitremote.ls_remote(f"{server.url}/nowhere.git", "main", good)
