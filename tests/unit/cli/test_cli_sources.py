"""Where a command finds its Dockerfile and its ignore file, and what a context's time fixes."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from differential.builds import images
from strata_builder import cli, contract
from support.file_server import Answer, FileServer
from support.git_server import HttpServer, Repository

FILES = ("a.md", "b.txt", "c.py")
Build = Callable[..., images.Image]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds with these words on the command line, in the folder `tmp_path`."""
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> images.Image:
        archive = tmp_path / "image"
        assert cli.main(["build", "--progress=quiet", "-o", f"type=oci,dest={archive}", *words]) == contract.ExitCode.OK
        return images.read(archive, {})

    return run


def written(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(name)
    for name, text in files.items():
        path = folder / name.replace("__", ".").replace("_in_", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def copied(image: images.Image) -> set[str]:
    return {path for path in image.layers[-1] if path in FILES}


COPY = "FROM scratch\nCOPY . /\n"


@pytest.mark.parametrize(
    ("files", "words", "kept"),
    [
        ({"dockerfile": COPY}, [], {"a.md", "b.txt", "c.py"}),
        ({"dockerfile": COPY, "Dockerfile": "FROM scratch\nCOPY a.md /\n"}, [], {"a.md"}),
        ({"dockerfile": COPY, "Dockerfile__dockerignore": "*.md"}, [], {"b.txt", "c.py"}),
        ({"dockerfile": COPY, "dockerfile__dockerignore": "*.md", "__dockerignore": "*.py"}, [], {"a.md", "b.txt"}),
        ({"dockerfile": COPY, "__dockerignore": "*.txt"}, [], {"a.md", "c.py"}),
        ({"dockerfile": COPY}, ["-f", "Dockerfile"], {"a.md", "b.txt", "c.py"}),
        ({"sub_in_dockerfile": COPY}, ["-f", "sub/Dockerfile"], {"a.md", "b.txt", "c.py"}),
        (
            {"sub_in_dockerfile": COPY, "sub_in_Dockerfile__dockerignore": "*.md"},
            ["-f", "sub/Dockerfile"],
            {"b.txt", "c.py"},
        ),
        ({"dockerfile": COPY}, ["-f", "dockerfile"], {"a.md", "b.txt", "c.py"}),
    ],
)
def test_a_dockerfile_in_small_letters_is_found_where_no_other_is(
    build: Build, tmp_path: Path, files: dict[str, str], words: list[str], kept: set[str]
) -> None:
    context = written(tmp_path / "context", **files)
    assert copied(build(*words, str(context))) == kept


def test_a_dockerfile_in_small_letters_is_found_on_this_machine_too(build: Build, tmp_path: Path) -> None:
    context = written(tmp_path / "context")
    written(tmp_path / "here", dockerfile=COPY, Dockerfile__dockerignore="*.md")
    assert copied(build("-f", "here/Dockerfile", str(context))) == {"b.txt", "c.py"}


def test_a_dockerfile_of_a_fetched_context_is_never_one_that_lies_here_by_chance(
    build: Build, tmp_path: Path, server: FileServer
) -> None:
    """As with docker: a path is one in what was fetched, an absolute one is on this machine."""
    server.answers["/c.tar"] = Answer(packed(f=1, **{"sub/Dockerfile": 1}))
    here = written(tmp_path / "sub", Dockerfile=COPY, Dockerfile__dockerignore="*")
    (tmp_path / "Dockerfile").write_text(COPY)
    for file in ("Dockerfile", "sub/Dockerfile"):
        assert "f" in build("-f", file, f"{server.url}/c.tar").layers[-1]
        assert "sub" not in build("-f", file, f"{server.url}/c.tar").layers[-1]
    (here / "Dockerfile.dockerignore").unlink()
    assert "sub" in build("-f", str(here / "Dockerfile"), f"{server.url}/c.tar").layers[-1]


def test_a_dockerfile_that_a_fetched_context_lacks_is_told_with_where_it_is_looked_for(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile.here").write_text(COPY)
    server.answers["/c.tar"] = Answer(packed(f=1))
    assert cli.main(["build", "-f", "Dockerfile.here", f"{server.url}/c.tar"]) == contract.ExitCode.FAILED
    told = capsys.readouterr().err
    assert "there is no Dockerfile.here" in told
    assert "an absolute path" in told


@pytest.mark.parametrize("command", ["check", "plan"])
def test_every_command_finds_a_dockerfile_in_small_letters(
    build: Build, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = written(tmp_path / "context", dockerfile=COPY)
    assert cli.main([command, str(context)]) == contract.ExitCode.OK
    assert "COPY . /" in capsys.readouterr().out or command == "check"


@pytest.mark.parametrize("name", ["DOCKERFILE", "Dockerfile.dev"])
def test_other_names_are_found_as_they_are_written_only(
    build: Build, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = written(tmp_path / "context", **{name.lower().replace(".", "__"): COPY} if "." in name else {name: COPY})
    words = ["-f", name] if "." in name else []
    assert cli.main(["build", *words, str(context)]) == contract.ExitCode.FAILED
    assert f"there is no {name if words else 'Dockerfile'}" in capsys.readouterr().err


def test_a_base_that_is_a_folder_gives_its_files_without_what_it_ignores(build: Build, tmp_path: Path) -> None:
    context = written(
        tmp_path / "context", Dockerfile="FROM lib\nCOPY a.md /sub/a.md\nFROM 0\nFROM lib AS x\nENV A=1\n"
    )
    named = written(tmp_path / "named", __dockerignore="*.py\n", d_in_e="e")
    (named / "b.txt").chmod(0o4750)
    image = build("--build-context", f"lib={named}", "--target", "0", str(context))
    first, second = image.layers
    assert {(path, entry.kind, entry.mode) for path, entry in first.items() if path} >= {
        ("a.md", "file", 0o644),
        ("b.txt", "file", 0o4750),
        ("d", "directory", 0o755),
        ("d/e", "file", 0o644),
    }
    assert "c.py" not in first
    assert "sub/a.md" in second
    assert [item["created_by"] for item in image.config["history"]] == ["FROM lib", "COPY a.md /sub/a.md"]


def test_a_base_that_is_a_folder_is_found_in_the_cache_by_what_it_holds(build: Build, tmp_path: Path) -> None:
    context = written(tmp_path / "context", Dockerfile="FROM lib\n")
    named = written(tmp_path / "named")
    first = build("--build-context", f"lib={named}", str(context))
    (named / "a.md").touch()
    assert build("--build-context", f"lib={named}", str(context)).config == first.config
    (named / "a.md").write_text("changed")
    assert build("--build-context", f"lib={named}", str(context)).config["rootfs"] != first.config["rootfs"]


def test_a_named_context_is_fetched_from_wherever_the_context_may_come(
    build: Build, tmp_path: Path, server: FileServer
) -> None:
    repository = Repository.make(tmp_path / "served")
    repository.commit({"a.md": "git"})
    server.answers["/c.tar"] = Answer(packed(b=1))
    server.answers["/text"] = Answer(b"FROM scratch\n")
    lines = (f"COPY --from={name} . /\n" for name in ("git", "tar", "text"))
    context = written(tmp_path / "context", Dockerfile="FROM scratch\n" + "".join(lines))
    with HttpServer(repository.bare.parent) as git:
        urls = {"git": f"{git.url}/app.git", "tar": f"{server.url}/c.tar", "text": f"{server.url}/text"}
        image = build(*(f"--build-context={name}={url}" for name, url in urls.items()), str(context))
    first, second, third = image.layers
    assert ("a.md" in first, "b" in second, "context" in third) == (True, True, True)


# the context's time


def packed(**files: int) -> bytes:
    """An archive of the build context: a Dockerfile and files with these times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, time in ({"Dockerfile": 1, **files}).items():
            data = b"ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nCOPY f /\n" if name.endswith("Dockerfile") else b"x"
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), time
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({}) as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "created"),
    [
        ({"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "2015-10-21T07:28:00Z"),
        ({}, "2001-09-09T01:46:40Z"),
    ],
)
def test_an_archive_gives_its_servers_time_or_that_of_its_newest_file(
    build: Build, server: FileServer, headers: dict[str, str], created: str
) -> None:
    server.answers["/c.tar"] = Answer(packed(f=1_000_000_000, g=999_999_999), headers=headers)
    image = build(f"{server.url}/c.tar")
    assert image.config["created"] == created
    assert image.layers[-1]["f"].time == datetime.fromisoformat(created).timestamp()


def test_a_folder_has_no_time_and_fixes_nothing(build: Build, tmp_path: Path) -> None:
    context = written(tmp_path / "context", Dockerfile="ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nCOPY a.md /\n")
    plain = build(str(context))
    assert plain.config["created"] == "2000-01-01T00:00:00Z"
    fixed = build("--build-arg", "SOURCE_DATE_EPOCH=1445412480", str(context))
    assert fixed.config["created"] == "2015-10-21T07:28:00Z"


def test_a_stage_of_one_add_gives_the_time_of_what_it_fetches(build: Build, tmp_path: Path, server: FileServer) -> None:
    server.answers["/old"] = Answer(b"x", headers={"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})
    server.answers["/a.tar"] = Answer(packed(f=1_000_000_000))
    server.answers["/silent"] = Answer(b"x")
    text = "ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nADD {}/{} /\nFROM scratch\nCOPY a.md /\n"
    created = {}
    for name in ("old", "a.tar", "silent"):
        context = written(tmp_path / name, Dockerfile=text.format(server.url, name))
        created[name] = build(str(context)).config["created"]
    assert created == {
        "old": "2015-10-21T07:28:00Z",
        "a.tar": "2001-09-09T01:46:40Z",
        "silent": "2000-01-01T00:00:00Z",
    }


def test_what_the_environment_says_is_a_build_argument_too(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "FROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL epoch=$SOURCE_DATE_EPOCH\n"
    context = written(tmp_path / "context", Dockerfile=text)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1445412480")
    image = build(str(context))
    assert json.dumps(image.config["config"]["Labels"]) == '{"epoch": "1445412480"}'


# a Dockerfile behind a URL


@pytest.mark.parametrize("line", ["COPY context /f\n", "COPY . /\n"])
def test_a_url_of_a_text_is_a_dockerfile_that_is_its_own_context(build: Build, server: FileServer, line: str) -> None:
    text = f"FROM scratch\n{line}".encode()
    server.answers["/web.Dockerfile"] = Answer(text)
    (layer,) = build(f"{server.url}/web.Dockerfile").layers
    ((path, entry),) = [(path, entry) for path, entry in layer.items() if path]
    assert (path, entry.mode, entry.size) == ("f" if "/f" in line else "context", 0o600, len(text))


def test_an_archive_of_one_file_is_no_dockerfile(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("context"))
    server.answers["/a.tar"] = Answer(buffer.getvalue())
    assert cli.main(["build", "--progress=quiet", f"{server.url}/a.tar"]) == contract.ExitCode.FAILED
    assert "there is no Dockerfile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>\n<p>Not here</p>\n", "unknown instruction"),
        (b"", "no FROM|empty"),
        (b"FROM scratch\n#" + b"x" * (4 << 20), "neither a tar or zip archive nor a Dockerfile"),
    ],
    ids=["a page", "nothing", "too much"],
)
def test_a_url_of_neither_an_archive_nor_a_dockerfile(
    server: FileServer, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    server.answers["/page"] = Answer(content)
    assert cli.main(["build", "--progress=quiet", f"{server.url}/page"]) == contract.ExitCode.FAILED
    assert re.search(message, capsys.readouterr().err)
