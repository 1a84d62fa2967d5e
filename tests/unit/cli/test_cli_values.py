"""The small languages inside flags, and the exit codes of the command."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from strata_builder import cli, contract
from strata_builder.cli import exports, sources, values


def test_a_plain_name_takes_its_value_from_the_environment() -> None:
    found = values.pairs("--build-arg", ["A=1", "B", "C", "D=", "E=x=y"], {"B": "2"})
    assert found == {"A": "1", "B": "2", "D": "", "E": "x=y"}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("id=t,src=/f", values.Secret("t", "/f")),
        ("id=t,source=/f", values.Secret("t", "/f")),
        ("id=t,env=V", values.Secret("t", variable="V")),
        ("id=t,type=env", values.Secret("t", variable="t")),
        ("type=file,id=t,src=/f", values.Secret("t", "/f")),
        ('id=t,"src=/a,b"', values.Secret("t", "/a,b")),
        ("id=t", values.Secret("t")),
    ],
)
def test_a_secret_names_a_file_or_a_variable(text: str, secret: values.Secret) -> None:
    assert values.secret(text) == secret


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("-", values.Output("tar", "-")),
        ("out", values.Output("local", "out", tar=False)),
        ("type=oci,dest=a.tar", values.Output("oci", "a.tar")),
        ("type=oci,dest=d,tar=false", values.Output("oci", "d", tar=False)),
        ("type=docker", values.Output("docker", "-")),
        ("type=local,dest=d", values.Output("local", "d", tar=False)),
        ("type=image,push=true", values.Output("image", push=True)),
        ("type=registry", values.Output("image", push=True)),
    ],
)
def test_an_output_is_what_docker_would_make_of_it(text: str, output: values.Output) -> None:
    assert values.output(text) == output


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (values.secret, "src=/f", "id is missing"),
        (values.secret, "id=t,src=/f,env=V", "both"),
        (values.secret, "id=t,sorce=/f", "unknown field 'sorce'"),
        (values.secret, '"id=t', "--secret"),
        (values.output, "type=oic", "unknown type 'oic'"),
        (values.output, "type=local", "dest is missing"),
        (values.output, "type=oci,tar=maybe", "true or false"),
        (lambda text: values.cache("--cache-from", text), "type=gha", "--cache-from"),
        (lambda text: values.contexts([text]), "name", "NAME=PATH"),
        (lambda text: values.pairs("--label", [text], {}), "=x", "--label"),
    ],
)
def test_a_wrong_value_is_named_with_its_flag(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(values.UsageError, match=said):
        read(text)


def test_contexts_caches_and_mirrors() -> None:
    assert values.contexts(["Base=oci-layout://d", "x=../y=z"]) == {"base": "oci-layout://d", "x": "../y=z"}
    assert values.cache("--cache-to", "r.example/a:c") == values.CacheReference("r.example/a:c")
    assert values.cache("--cache-to", "type=registry,ref=r.example/a,mode=max").reference == "r.example/a"
    assert values.mirrors(["https://m", "ghcr.io=https://n"]) == [("docker.io", "https://m"), ("ghcr.io", "https://n")]


def test_a_secret_that_cannot_be_read_is_named_and_its_variable_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hidden-value")
    assert sources.secrets(["id=t,env=TOKEN"]) == {"t": b"hidden-value"}
    with pytest.raises(values.UsageError, match="--secret t: cannot read") as caught:
        sources.secrets([f"id=t,src={tmp_path / 'none'}"])
    assert "hidden-value" not in str(caught.value)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "cache"))

    def go(dockerfile: str | None, *flags: str) -> tuple[int, str]:
        context = tmp_path / "context"
        context.mkdir(exist_ok=True)
        if dockerfile is not None:
            (context / "Dockerfile").write_text(dockerfile)
        code = cli.main([*flags, str(context)])
        return code, capsys.readouterr().err

    return go


@pytest.mark.parametrize(
    ("dockerfile", "flags", "code", "said"),
    [
        (
            "FROM scratch\nLABEL a=1\n",
            ["build", "-o", "type=oci,dest=/dev/null"],
            contract.ExitCode.OK,
            "built sha256:",
        ),
        ("FROM scratch\n", ["check"], contract.ExitCode.OK, ""),
        ("FRMO scratch\n", ["build"], contract.ExitCode.FAILED, "Dockerfile:1"),
        ("FRMO scratch\n", ["check"], contract.ExitCode.FAILED, "Dockerfile:1"),
        (None, ["build"], contract.ExitCode.FAILED, "there is no Dockerfile"),
        ("FROM scratch\n", ["build", "-o", "type=oic"], contract.ExitCode.USAGE, "unknown type"),
        ("FROM scratch\n", ["build", "-o", "type=oci,dest=/none/x.tar"], contract.ExitCode.USAGE, "no folder /none"),
        ("FROM scratch\n", ["build", "--iidfile", "/none/id"], contract.ExitCode.USAGE, "cannot write /none/id"),
        ("FROM scratch\n", ["build", "--secret", "x=1"], contract.ExitCode.USAGE, "--secret"),
    ],
)
def test_the_exit_code_tells_whose_fault_it_is(
    run: Run, dockerfile: str | None, flags: list[str], code: int, said: str
) -> None:
    ended, told = run(dockerfile, *flags, "--isolation", "layers") if flags[0] == "build" else run(dockerfile, *flags)
    assert (ended, said in told) == (code, True), told


def test_an_output_that_is_no_plain_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with exports._out(str(pipe)) as out:
        out.write(b"through")
    assert os.read(read, 100) == b"through"
    os.close(read)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


@pytest.mark.parametrize("there", ["a file", "nothing", "an open file"])
def test_an_output_that_is_a_link_stays_one(there: str, tmp_path: Path) -> None:
    """/dev/stdout is one, to a file where that is where standard output goes."""
    target, link = tmp_path / "target", tmp_path / "link"
    if there != "nothing":
        target.write_bytes(b"something longer than that")
    with (tmp_path / "open").open("w+b") as opened:
        link.symlink_to(f"/proc/self/fd/{opened.fileno()}" if there == "an open file" else target)
        with exports._out(str(link)) as out:
            out.write(b"through")
        assert (opened.read() if there == "an open file" else target.read_bytes()) == b"through"
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("default", values.Ssh("default")),
        ("default=/run/agent.sock", values.Ssh("default", ("/run/agent.sock",))),
        ("git=/k1,/k2", values.Ssh("git", ("/k1", "/k2"))),
    ],
)
def test_an_agent_is_named_by_its_id_and_perhaps_a_socket_or_keys(text, expected):
    assert values.ssh(text) == expected


@pytest.mark.parametrize("text", ["", "=", "=/k", "a=", "a=,", "a,b", "/run/a,/run/b"])
def test_an_agent_without_id_or_path_is_refused(text):
    with pytest.raises(values.UsageError, match="--ssh"):
        values.ssh(text)
