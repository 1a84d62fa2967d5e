"""The command line as docker's users type it: what works as there, and what is refused with what to do instead."""

from __future__ import annotations

import argparse

import pytest

from strata_builder.cli import arguments, main, refused, usage, values


def parsed(*argv: str) -> argparse.Namespace:
    given = arguments.parse(["build", *argv])
    usage.check(given)
    return given


@pytest.mark.parametrize(
    ("argv", "field", "expected"),
    [
        (["--push"], "push", True),
        (["--push=true"], "push", True),
        (["--push=false"], "push", False),
        (["--no-cache=1", "."], "no_cache", True),
        (["--pull"], "pull", True),
        (["--pull=false"], "pull", False),
        (["--provenance=false", "--sbom=false", "x"], "context", "x"),
        (["--provenance", "false", "--sbom", "false", "x"], "context", "x"),
        (["-q"], "quiet", True),
        (["--quiet"], "quiet", True),
        (["-D"], "debug", True),
        (["--check"], "call", "check"),
        (["--call=check"], "call", "check"),
        (["--network", "host"], "network", "host"),
        (["--output=."], "output", ["."]),
        (["-o", "out", "-o", "type=oci,dest=x"], "output", ["out", "type=oci,dest=x"]),
        (["-tx", "-t", "y:1"], "tag", ["x", "y:1"]),
        (["--platform=linux/amd64,linux/arm64"], "platform", ["linux/amd64,linux/arm64"]),
        (["-f", "-"], "file", "-"),
        ([], "context", "."),
    ],
)
def test_habits_of_docker_work_as_there(argv, field, expected):
    assert getattr(parsed(*argv), field) == expected


@pytest.mark.parametrize("flag", refused.FLAGS)
@pytest.mark.parametrize("form", ["{}", "{}=value", "{}=false"])
def test_what_cannot_be_done_is_refused_by_name_with_what_to_do(flag, form):
    with pytest.raises(values.UsageError) as caught:
        parsed(form.format(flag), ".")
    assert flag in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("argv", "said", "hint"),
    [
        (["--taget", "x", "."], "unknown flag --taget", "did you mean --target?"),
        (["--buildarg=A=1"], "unknown flag --buildarg", "did you mean --build-arg?"),
        (["--no-cach"], "unknown flag --no-cach", "did you mean --no-cache?"),
        (["--targe", "x"], "unknown flag --targe", "did you mean --target?"),
        (["--provenence=true"], "unknown flag --provenence", "strata build --help"),
        (["--xyzzy"], "unknown flag --xyzzy", "strata build --help"),
        ([".", "b"], "unexpected argument 'b'", "one context"),
        (["-f"], "--file", "--help"),
        (["--push=maybe"], "--push is true or false", ""),
        (["--provenance=true"], "attestations", "--provenance=false"),
        (["--provenance"], "attestations", "--provenance=false"),
        (["-t", "BAD NAME"], "--tag: 'BAD NAME'", ""),
        (["-t", "Web/App:V1"], "lower case", "did you mean"),
        (["-t", "x@sha256:" + "0" * 64], "holds no digest", ""),
        (["--platform", "nosuch"], "--platform: 'nosuch'", "linux/amd64"),
        (["--cache-from", "type=gha"], "type=registry", "STRATA_CACHE_DIR"),
        (["--cache-to", "type=local,dest=x"], "type=registry", "STRATA_CACHE_DIR"),
        (["--cache-to", "type=registry,ref=x,dest=y"], "unknown field 'dest'", "ref"),
        (["--cache-to", "BAD"], "--cache-to", ""),
        (["--cache-to", "x@sha256:" + "0" * 64], "--cache-to", "TAG"),
        (["--cache-to", "type=registry,ref=x:1@sha256:" + "0" * 64], "--cache-to", "TAG"),
        (["--registry-mirror", "http://u:p@h"], "--registry-mirror", ""),
        (["--insecure-registry", "http://r.example:5000"], "--insecure-registry", "HOST[:PORT]"),
        (["--insecure-registry", "r.example:5000/team"], "--insecure-registry", "HOST[:PORT]"),
        (["--insecure-registry", "10.0.0.0/8"], "--insecure-registry", "HOST[:PORT]"),
        (["--insecure-registry", ""], "--insecure-registry", "HOST[:PORT]"),
        (["--insecure-registry", "r.example:port"], "--insecure-registry", "HOST[:PORT]"),
        (["--network", "bridge"], "'host'", "--help"),
        (["--call", "outline"], "--call=outline", "strata plan"),
        (["-o", "-", "-o", "type=docker"], "standard output", "dest=FILE"),
        (["-o", "-", "-q"], "standard output", "--quiet"),
        (["-o", "type=floppy"], "unknown type 'floppy'", "oci, docker"),
        (["-o", "type=local,dest=x,name=y"], "no name", "name="),
        (["-o", "type=image,name=BAD"], "--output name", ""),
        (["-o", ""], "--output is empty", "DIR"),
        (["-o", "type=oci,tar=false"], "dest is missing", "dest=FOLDER"),
        (["-o", "type=oci,tar=false,dest=-"], "dest is missing", "dest=FOLDER"),
        (["-o", "type=local,dest=-"], "dest is missing", "dest=FOLDER"),
        (["-o", "type=docker,tar=false,dest=x"], "type=docker is a tar", "type=oci,tar=false"),
        (["-o", "type=tar,tar=false,dest=x"], "type=tar is a tar", "type=local"),
        (["-o", "type=local,tar=true,dest=x"], "type=local is no tar", "type=tar"),
        (["-o", "type=oci,dest=x,push=true"], "type=oci is not pushed", "type=registry"),
        (["-o", "type=image,dest=x"], "type=image is written to no file", "type=oci"),
        (["-o", "type=registry,dest=x.tar"], "type=registry is written to no file", "type=oci"),
        (["-o", "type=cacheonly,dest=x"], "type=cacheonly is written to no file", "type=oci"),
        (["--platform=linux/amd64,linux/arm64", "-o", "x"], "type=local holds one platform", "type=oci"),
        (["--platform=linux/amd64", "--platform=linux/arm64", "-o", "type=tar,dest=x"], "one platform", "type=oci"),
        (
            ["--platform=linux/amd64,linux/arm64", "--push", "-tx", "-o", "type=docker,dest=x"],
            "one platform",
            "type=oci",
        ),
        (["-", "-f", "-"], "standard input", ""),
        ([""], "the context is empty", "`.`"),
        (["--build-arg", "=x"], "--build-arg", "NAME=VALUE"),
        (["--ssh", "a="], "--ssh", ""),
        (["--secret", "src=x"], "id is missing", "id=NAME"),
    ],
)
def test_a_wrong_command_line_is_told_in_two_lines_with_exit_code_2(argv, said, hint, capsys):
    assert main(["build", *argv]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    first, *rest = told.err.splitlines()
    assert first.startswith("error: ")
    assert said in first
    assert hint in "".join(rest)
    assert len(rest) <= 1


@pytest.mark.parametrize("argv", [[], ["nosuch"], ["build", "--nosuch"], ["plan", "--push"], ["check", "--no-cache"]])
def test_every_command_has_the_exit_code_of_a_wrong_command_line(argv, capsys):
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("R.Example:5000", "r.example:5000"),
        ("r.example/", "r.example"),
        ("[::1]:5000", "[::1]:5000"),
        ("LOCALHOST", "localhost"),
        ("index.docker.io", "docker.io"),
        ("registry", "registry"),
    ],
)
def test_a_registry_is_named_as_references_to_it_name_it(given, host):
    assert values.hosts("--insecure-registry", [given]) == {host}


@pytest.mark.parametrize("flags", [[], ["--from", "r.example/team/web:3"]])
def test_logs_refuses_a_url_for_a_host_too(flags, capsys):
    assert main(["logs", "--insecure-registry", "http://r.example", *(flags or ["web"])]) == 2
    assert "HOST[:PORT]" in capsys.readouterr().err


def test_a_result_is_not_written_to_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(values.UsageError, match="terminal"):
        parsed("-o", "-", ".")


@pytest.mark.parametrize("command", ["build", "plan", "check"])
def test_help_shows_how_it_is_used_and_every_flag_with_its_meaning(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: strata {command} [OPTIONS] [CONTEXT|-|URL]\n")
    assert "example" in shown
    assert not [flag for flag in refused.FLAGS if f"{flag} " in shown]


def test_a_label_without_a_value_is_an_empty_label():
    assert values.labels(["a", "b=1", "c="]) == {"a": "", "b": "1", "c": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=image,name=a:1,push=true", values.Output("image", push=True, names=("a:1",))),
        ('type=registry,"name=a:1,b:2"', values.Output("image", push=True, names=("a:1", "b:2"))),
        ("type=oci,dest=x,name=a", values.Output("oci", "x", names=("a",))),
        ("type=cacheonly", values.Output("cacheonly")),
        ("type=registry,push=false", values.Output("image")),
        ("type=registry,push=true", values.Output("image", push=True)),
        ("type=oci,dest=", values.Output("oci", "-")),
        ("type=local,dest=x,tar=false", values.Output("local", "x", tar=False)),
    ],
)
def test_an_output_may_name_the_image(text, expected):
    assert values.output(text) == expected
