"""ADD of what lies elsewhere, through `strata build`: real servers, credentials from secrets, and what is said of faults."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import git_server
from support.file_server import Answer, FileServer
from support.git_server import HttpServer, Repository
from support.strata_build import Builder

pytestmark = pytest.mark.root

HELLO = b"hello\n"
SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer({"/f": Answer(HELLO)}) as server:
        yield server


def _tls(folder: Path) -> tuple[ssl.SSLContext, dict[str, str]]:
    """A server's context, and what a program is told to trust it."""
    context, authority = git_server.server_tls(folder)
    (folder / "ca.pem").write_bytes(authority)
    return context, {"SSL_CERT_FILE": str(folder / "ca.pem"), "GIT_SSL_CAINFO": str(folder / "ca.pem")}


# files


@pytest.mark.parametrize(
    ("secret", "answer"),
    [
        ("HTTP_AUTH_TOKEN_127.0.0.1=tok", "Bearer tok"),
        ("HTTP_AUTH_HEADER_127.0.0.1=Basic YWRhOnB3", "Basic " + base64.b64encode(b"ada:pw").decode()),
    ],
)
def test_a_file_behind_a_password_is_fetched_with_the_secret_of_its_host(
    builder: Builder, tmp_path: Path, secret: str, answer: str
) -> None:
    name, _, value = secret.partition("=")
    (tmp_path / "secret").write_text(value)
    with FileServer({"/f": Answer(HELLO)}, authorization=answer) as server:
        text = f"FROM scratch\nADD {server.url}/f /\n"
        image = builder.make(text, {}, "--no-cache", "--secret", f"id={name},src={tmp_path}/secret")
        refused = builder.fault(text.replace("/f /", "/f /g"))
    assert image.read("f") == "hello\n"
    assert value.partition(" ")[2] not in image.log + str(image.config) or value == "tok"
    assert "answered 401: the credentials are refused, or missing" in refused


def test_a_secret_does_not_follow_a_redirect_to_another_server(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("tok")
    with FileServer({"/f": Answer(HELLO)}) as other:
        answers = {"/f": Answer(status=302, headers={"Location": f"{other.url}/f"})}
        with FileServer(answers, authorization="Bearer tok") as server:
            secret = f"id=HTTP_AUTH_TOKEN_127.0.0.1,src={tmp_path}/secret"
            builder.make(f"FROM scratch\nADD {server.url}/f /\n", {}, "--secret", secret)
        assert [headers.get("authorization") for _, headers in other.log] == [None]


def test_a_redirect_may_lead_to_https_and_not_back(builder: Builder, tmp_path: Path, files: FileServer) -> None:
    context, trust = _tls(tmp_path / "tls")
    down = Answer(status=301, headers={"Location": f"{files.url}/f"})
    with FileServer({"/f": Answer(HELLO), "/down": down}, tls=context) as secure:
        files.answers["/up"] = Answer(status=307, headers={"Location": f"{secure.url}/f"})
        up = builder.context({}, f"FROM scratch\nADD {files.url}/up /\n")
        assert builder.build(up, env=trust).read("up") == "hello\n"
        ended = builder.run(builder.context({}, f"FROM scratch\nADD {secure.url}/down /\n"), env=trust)
        assert ended.returncode == 1
        assert f"{secure.url}/down redirects to {files.url}/f, which is not encrypted" in ended.stderr
        untrusted = builder.run(builder.context({}, f"FROM scratch\nADD {secure.url}/f /\n"))
        assert "certificate" in untrusted.stderr


FAULTS = {
    "nothing there": (Answer(status=404), "/f answered 404", "check the URL"),
    "gone": (Answer(status=410), "/f answered 410", "check the URL"),
    "forbidden": (Answer(status=403), "/f answered 403: the credentials are refused, or missing", "HTTP_AUTH_TOKEN_"),
    "a loop": (Answer(status=302, headers={"Location": "/f"}), "/f redirects more than 10 times", ""),
    "a redirect to nowhere": (Answer(status=302), "answered without a usable Location", ""),
    "a redirect out of the web": (Answer(status=302, headers={"Location": "file:///etc/passwd"}), "file:", ""),
    "damaged gzip": (Answer(b"\x1f\x8b\x08broken", headers={"Content-Encoding": "gzip"}), "gzip data is", ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_line_url_and_what_to_do(builder: Builder, files: FileServer, name: str) -> None:
    answer, said, hint = FAULTS[name]
    files.answers["/f"] = answer
    fault = builder.fault(f"FROM scratch\nENV A=1\nADD {files.url}/f /\n")
    head, excerpt, caret = fault[fault.index("error: ") :].splitlines()[:3]
    assert "Dockerfile:3: " in head
    assert said in head
    assert excerpt == f"  3 | ADD {files.url}/f /"
    assert caret == "    |     ^"
    assert hint in fault


@pytest.mark.parametrize("length", [64, 96, 128])
def test_another_content_than_the_checksums_is_refused_with_both(
    builder: Builder, files: FileServer, length: int
) -> None:
    algorithm = {64: "sha256", 96: "sha384", 128: "sha512"}[length]
    fault = builder.fault(f"FROM scratch\nADD --checksum={algorithm}:{'0' * length} {files.url}/f /\n")
    assert f"/f has the {algorithm} " in fault
    assert f"but {'0' * length} was asked for" in fault
    assert "write its new checksum" in fault
    assert length != 64 or SHA256 in fault


def test_what_neither_url_nor_server_names_needs_a_name_in_the_destination(builder: Builder, files: FileServer) -> None:
    files.answers["/"] = Answer(HELLO)
    assert "does not say what the file is called" in builder.fault(f"FROM scratch\nADD {files.url} /o/\n")
    named = {"Content-Disposition": "attachment; filename*=UTF-8''na%C3%AFve.txt"}
    files.answers["/"] = Answer(HELLO, headers=named)
    assert builder.make(f"FROM scratch\nADD {files.url}/?x /p/\n").read("p/naïve.txt") == "hello\n"


def test_a_file_that_changes_is_a_new_layer_and_a_new_time_alone_is_one_too(
    builder: Builder, files: FileServer
) -> None:
    context = builder.context({}, f"FROM scratch\nADD {files.url}/f /\n")
    first = builder.build(context)
    assert "CACHED" in builder.build(context).log
    files.answers["/f"] = Answer(b"other\n")
    assert builder.build(context).read("f") == "other\n"
    files.answers["/f"] = Answer(HELLO, headers={"Last-Modified": "Fri, 13 Feb 2009 23:31:30 GMT"})
    assert builder.build(context).digest != first.digest


BIG = b"0123456789abcdef" * 100_000


@pytest.mark.parametrize("flags", ["", "--unpack=false ", "--link "])
def test_a_rebuild_in_which_all_is_found_moves_no_body(builder: Builder, files: FileServer, flags: str) -> None:
    files.answers["/f"] = Answer(BIG, headers={"ETag": '"v1"', "Last-Modified": "Fri, 13 Feb 2009 23:31:30 GMT"})
    context = builder.context({}, f"FROM scratch AS a\nADD {flags}{files.url}/f /\nFROM a\nLABEL a=b\n")
    first = builder.build(context)
    sent = files.sent
    again = builder.build(context)
    assert again.digest == first.digest
    assert "CACHED" in again.log
    assert files.sent == sent
    builder.build(context, "--no-cache")
    assert files.sent > sent
    files.answers["/f"] = Answer(BIG[:-1] + b"!", headers={"ETag": '"v2"'})
    assert builder.build(context).files()["f"].content == BIG[:-1] + b"!"


def test_a_layer_that_is_gone_is_made_again_of_a_body_that_is_fetched_then(builder: Builder, files: FileServer) -> None:
    files.answers["/f"] = Answer(HELLO, headers={"ETag": '"v1"'})
    context = builder.context({}, f"FROM scratch\nADD {files.url}/f /\n")
    first = builder.build(context)
    for blob in (builder.folder / "cache" / "blobs").iterdir():
        blob.unlink()
    assert builder.build(context).digest == first.digest
    assert files.log[-1][1].get("if-none-match") is None


def test_a_checksum_of_what_is_found_sends_no_request(builder: Builder, files: FileServer) -> None:
    context = builder.context({}, f"FROM scratch\nADD --checksum=sha256:{SHA256} {files.url}/f /\n")
    first = builder.build(context)
    asked = len(files.log)
    assert builder.build(context).digest == first.digest
    assert len(files.log) == asked


# repositories


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository.make(tmp_path / "served")
    made.commit({"f": "f", "sub/g": "g"})
    return made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GIT_AUTH_TOKEN", "tok"),
        ("GIT_AUTH_TOKEN.{host}", "tok\n"),
        ("GIT_AUTH_HEADER", "basic " + base64.b64encode(b"x-access-token:tok").decode()),
    ],
)
def test_a_private_repository_is_added_with_the_secret_and_leaves_no_trace_of_it(
    builder: Builder, tmp_path: Path, repository: Repository, name: str, value: str
) -> None:
    (tmp_path / "secret").write_text(value)
    with HttpServer(repository.bare.parent, user="x-access-token", password="tok") as server:
        secret = f"id={name.format(host=server.url.partition('://')[2])},src={tmp_path}/secret"
        text = f"FROM scratch\nADD --keep-git-dir {server.url}/app.git /o\n"
        image = builder.make(text, {}, "--secret", secret)
        fault = builder.fault(text.replace("/o", "/p"))
    assert image.read("o/f") == "f"
    config = image.read("o/.git/config")
    assert f"url = {server.url}/app.git" in config
    assert not [path for path, file in image.files().items() if b"tok" in file.content.replace(b"token", b"")]
    assert "tok" not in str(image.config).replace("token", "")
    assert "Dockerfile:2: " in fault


def test_a_private_context_is_read_with_the_secret(builder: Builder, tmp_path: Path, repository: Repository) -> None:
    repository.commit({"Dockerfile": "FROM scratch\nCOPY f /\n"})
    (tmp_path / "secret").write_text("tok")
    with HttpServer(repository.bare.parent, user="x-access-token", password="tok") as server:
        url = f"{server.url}/app.git?branch=main&checksum={git_server.git('rev-parse', 'HEAD', cwd=repository.folder)}"
        archive = tmp_path / "image.tar"
        flags = ["--secret", f"id=GIT_AUTH_TOKEN,src={tmp_path}/secret", "-o", f"type=oci,dest={archive}"]
        ended = builder.run(url, *flags)
    assert ended.returncode == 0, ended.stderr
    assert archive.exists()


def test_a_repository_over_ssh_is_read_with_the_agent_that_is_given(
    builder: Builder, tmp_path: Path, repository: Repository
) -> None:
    with git_server.sshd(tmp_path / "sshd") as server:
        (tmp_path / "known").write_bytes(server.known_hosts)
        environment = {"GIT_SSH_COMMAND": f"ssh -F none -o UserKnownHostsFile={tmp_path}/known -o BatchMode=yes"}
        url = f"{server.url}{repository.bare}"
        context = builder.context({}, f"FROM scratch\nADD {url}#main:sub /o\n")
        image = builder.build(context, "--ssh", f"default={tmp_path}/sshd/identity", env=environment)
        without = builder.run(builder.context({}, f"FROM scratch\nADD {url} /p\n"), env=environment)
    assert image.read("o/g") == "g"
    assert without.returncode == 1
    assert "is read over ssh, and this build has no ssh agent" in without.stderr
    assert "--ssh default" in without.stderr


def test_a_moved_branch_is_a_new_layer_and_a_commit_that_changed_nothing_is_none(
    builder: Builder, repository: Repository
) -> None:
    with HttpServer(repository.bare.parent) as server:
        context = builder.context({}, f"FROM scratch\nADD {server.url}/app.git /o\n")
        first = builder.build(context)
        repository.commit({}, "nothing")
        assert builder.build(context).digest == first.digest
        repository.commit({"f": "new"})
        assert builder.build(context).read("o/f") == "new"


@pytest.mark.parametrize(("flags", "kept"), [((), False), (("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"), True)])
def test_a_context_from_git_keeps_its_git_folder_where_the_argument_says_so(
    builder: Builder, repository: Repository, flags: tuple[str, ...], kept: bool
) -> None:
    repository.commit({"Dockerfile": "FROM scratch\nCOPY . /\n"})
    with HttpServer(repository.bare.parent) as server:
        image = builder.build(f"{server.url}/app.git#main", *flags)
    assert (".git/HEAD" in image.files()) is kept
    assert image.read("f") == "f"


def test_the_word_context_means_the_time_of_the_commit(builder: Builder, repository: Repository) -> None:
    repository.commit({"Dockerfile": "ARG SOURCE_DATE_EPOCH=context\nFROM testbase\nCOPY f /\nRUN date +%s > /d\n"})
    time = int(git_server.git("log", "-1", "--format=%ct", cwd=repository.folder))
    with HttpServer(repository.bare.parent) as server:
        image = builder.build(f"{server.url}/app.git#main")
    files = image.files()
    assert [files[name].time for name in ("f", "d")] == [time, time]
