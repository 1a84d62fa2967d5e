"""How whole files read: the traps that other builders fell into, each as a file and what it must mean."""

from __future__ import annotations

import pytest

from strata_builder import dockerfile, errors
from strata_builder.dockerfile import Dockerfile, Instruction


def _parse(source: str | bytes) -> Dockerfile:
    return dockerfile.parse(source if isinstance(source, bytes) else source.encode())


def _only(line: str) -> Instruction:
    (instruction,) = _parse(f"FROM scratch\n{line}\n").stages[0].instructions
    return instruction


def _run_args(file: Dockerfile, env: dict[str, str] | None = None) -> dict[str, str]:
    """ENV of the last stage, each instruction seeing those before it, as a build does."""
    seen = dict(env or {})
    made: dict[str, str] = {}
    for instruction in file.stages[-1].instructions:
        if isinstance(instruction, dockerfile.Arg):
            seen |= {k: v for k, v in dockerfile.resolve_arg(instruction, seen, {}).pairs if v is not None}
        if isinstance(instruction, dockerfile.Env):
            pairs = dict(dockerfile.resolve(instruction, seen).pairs)
            made |= pairs
            seen |= pairs
    return made


def test_comments_and_blank_lines_inside_a_continued_instruction_are_skipped() -> None:
    file = _parse(
        "FROM testbase\nRUN echo a \\\n  # an indented comment\n  b \\\n\n  c > /r1\n"
        "ENV A=1 \\\n# flush-left comment\n    B=2 \\\n\n  C=3\nCMD echo x # y\n"
    )
    run, env, cmd = file.stages[0].instructions
    assert isinstance(run, dockerfile.Run)
    assert run.command.split() == ["echo", "a", "b", "c", ">", "/r1"]
    assert (run.span, env.span) == (dockerfile.Span(2, 6), dockerfile.Span(7, 11))
    assert isinstance(env, dockerfile.Env)
    assert env.pairs == (("A", "1"), ("B", "2"), ("C", "3"))
    assert isinstance(cmd, dockerfile.Cmd)
    assert (cmd.shell, cmd.command) == (True, "echo x # y")


def test_a_comment_after_env_is_an_error() -> None:
    with pytest.raises(errors.DockerfileError, match="'#' has no '='"):
        _parse("FROM scratch\nENV A=1 # note\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('CMD ["a","b c"]', ("a", "b c")),
        ("CMD ['a','b']", "['a','b']"),
        ('CMD ["a", "b"', '["a", "b"'),
        ('CMD [ "a" ] extra', '[ "a" ] extra'),
        ('CMD ["C:\\x"]', '["C:\\x"]'),
        ('CMD ["C:\\\\x"]', ("C:\\x",)),
        ("CMD []", ()),
        ('CMD [ "a" , "b" ]', ("a", "b")),
        ("CMD [NaN]", "[NaN]"),
        ('CMD ["\\ud800"]', ("\ufffd",)),
        ('CMD ["\\u00e9"]', ("é",)),
        ('CMD echo "$X"   two  \\\n  three', 'echo "$X"   two    three'),
    ],
)
def test_json_form_or_shell_form(line: str, expected: str | tuple[str, ...]) -> None:
    cmd = _only(line)
    assert isinstance(cmd, dockerfile.Cmd)
    if isinstance(expected, str):
        assert (cmd.shell, cmd.command, cmd.argv) == (True, expected, ())
    else:
        assert (cmd.shell, cmd.command, cmd.argv) == (False, "", expected)


@pytest.mark.parametrize("line", ['CMD ["a", 1]', 'CMD ["a", ["n"]]', "CMD [null]", "RUN [" + "9" * 10_000 + "]"])
def test_a_json_array_of_other_things_than_strings_is_an_error(line: str) -> None:
    with pytest.raises(errors.DockerfileError, match="only strings"):
        _only(line)


def test_crlf_byte_order_mark_odd_case_and_indentation() -> None:
    file = _parse(
        b"\xef\xbb\xbfFROM testbase\r\n  env A=1 \\\r\n\tB=2\r\nRUN <<EOF\r\necho hi > /o\r\nEOF\r\n"
        b'COPY <<EOF /c\r\nline\r\nEOF\r\nLABEL x="y"\r\n'
    )
    env, run, copy, label = file.stages[0].instructions
    assert file.stages[0].from_.image == "testbase"
    assert isinstance(env, dockerfile.Env)
    assert env.pairs == (("A", "1"), ("B", "2"))
    assert isinstance(run, dockerfile.Run)
    assert dockerfile.script_of(run).command == "echo hi > /o\n"
    assert isinstance(copy, dockerfile.Copy)
    assert copy.heredocs[0].content == "line\r\n"
    assert isinstance(label, dockerfile.Label)
    assert dockerfile.resolve(label, {}).pairs == (("x", "y"),)


def test_expose_ends_up_as_single_ports() -> None:
    expose = dockerfile.resolve(
        _only("EXPOSE 80 443/tcp 53/UDP 8000-8002 $P ${P}1/udp 127.0.0.1:8080:81 $L"), {"P": "90", "L": "1 2"}
    )
    assert isinstance(expose, dockerfile.Expose)
    assert " ".join(expose.ports) == (
        "80/tcp 443/tcp 53/udp 8000/tcp 8001/tcp 8002/tcp 90/tcp 901/udp 81/tcp 1/tcp 2/tcp"
    )


@pytest.mark.parametrize("port", ["70000", "80/foo", "x", "5-", "9-8", "-", "80-70000", "²"])
def test_a_port_that_is_none_is_an_error(port: str) -> None:
    with pytest.raises(errors.DockerfileError, match="EXPOSE"):
        dockerfile.resolve(_only(f"EXPOSE {port}"), {})


def test_every_value_of_one_env_sees_the_variables_before_it() -> None:
    made = _run_args(
        _parse(
            'FROM scratch\nARG A=arg\nENV OLD hello   world  # kept\nENV X=1 Y=$X Z="$X$A"\nENV X=2 Y2=$X\nENV EMPTY=\n'
            "ENV D1=${NO:-def} D2=${A:+alt} D3=${NO:+alt} D4=${NO-x} D5=${A-x}\n"
            "ENV D6=${EMPTY:-e} D7=${EMPTY-e} D8=${EMPTY:+p} D9=${EMPTY+p}\n"
            'ENV N1=${NO:-${A}} N2=${NO:-"q q"} N3=${NO:-$A-$A}\n'
            "ENV U1=pre${NO}post U2=$A_B U3=${A}_B U4=cost$\nENV V=foo.tar.gz P=/a/b/c.txt\n"
            "ENV E1=${V%.gz} E2=${V%%.*} E3=${P##*/} E4=${P#*/} E5=${V/o/0} E6=${V//o/0}\n"
        )
    )
    assert made == {
        "OLD": "hello   world  # kept", "X": "2", "Y": "", "Z": "arg", "Y2": "1", "EMPTY": "",
        "D1": "def", "D2": "alt", "D3": "", "D4": "x", "D5": "arg", "D6": "e", "D7": "", "D8": "", "D9": "p",
        "N1": "arg", "N2": "q q", "N3": "arg-arg", "U1": "prepost", "U2": "", "U3": "arg_B", "U4": "cost$",
        "V": "foo.tar.gz", "P": "/a/b/c.txt",
        "E1": "foo.tar", "E2": "foo", "E3": "c.txt", "E4": "a/b/c.txt", "E5": "f0o.tar.gz", "E6": "f00.tar.gz",
    }  # fmt: skip
    assert list(made)[:2] == ["OLD", "X"]


@pytest.mark.parametrize("line", ["ENV A=${}", "ENV A=${B", 'ENV A="${R:?must be set}"', "LABEL $E=x"])
def test_a_variable_that_cannot_be_expanded_points_at_its_line(line: str) -> None:
    with pytest.raises(errors.DockerfileError) as caught:
        dockerfile.resolve(_only(line), {"E": ""}, file="my.Dockerfile")
    assert str(caught.value.place) == "my.Dockerfile:2"


def test_an_arg_takes_the_given_value_else_its_default_else_none() -> None:
    arg = _only('ARG A=1 B=$A C D="${X:?never asked}" E=')
    assert isinstance(arg, dockerfile.Arg)
    assert arg.pairs == (("A", "1"), ("B", "$A"), ("C", None), ("D", '"${X:?never asked}"'), ("E", ""))
    resolved = dockerfile.resolve_arg(arg, {}, {"A": "cli", "D": ""})
    assert resolved.pairs == (("A", "cli"), ("B", "cli"), ("C", None), ("D", ""), ("E", ""))
    with pytest.raises(errors.DockerfileError, match="X: never asked"):
        dockerfile.resolve(arg, {})


def test_args_before_the_first_from_are_kept_apart() -> None:
    file = _parse("ARG G=glob\nARG H=h-${G}\nFROM scratch AS a\nARG G\nFROM a AS b\n")
    assert [arg.pairs for arg in file.meta_args] == [(("G", "glob"),), (("H", "h-${G}"),)]
    assert [(stage.name, stage.index, stage.from_.image) for stage in file.stages] == [
        ("a", 0, "scratch"),
        ("b", 1, "a"),
    ]


def test_quoting_in_env() -> None:
    made = _run_args(
        _parse(
            "FROM testbase\n"
            r"""ENV A="x y" Q1='$A' Q3=\$A Q4="\$A" Q6="a \"b\"" Q7=a\ b T="x"'y'z W='it'"'"'s' K='a\\b' K2="a\\b" """
        )
    )
    assert made == {
        "A": "x y", "Q1": "$A", "Q3": "$A", "Q4": "$A", "Q6": 'a "b"', "Q7": "a b", "T": "xyz", "W": "it's",
        "K": r"a\\b", "K2": r"a\b",
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        r"""RUN printf "%s\n" "$A" '$A' \$A "\$A" > /o""",
        r"""RUN ["/bin/sh","-c","printf '%s\n' \"$A\" > /o2"]""",
        'CMD ["echo","$A"]',
        "ENTRYPOINT exec $A",
        "HEALTHCHECK CMD test -n $A",
        "ONBUILD ENV QQ=$A",
        "MAINTAINER $A",
        'SHELL ["$A"]',
    ],
)
def test_text_that_a_shell_or_a_later_build_reads_is_not_expanded(line: str) -> None:
    instruction = _only(line)
    assert dockerfile.resolve(instruction, {"A": "expanded"}) == instruction


def test_a_run_here_document_is_the_script_and_is_left_to_the_shell() -> None:
    file = _parse(
        'FROM testbase\nRUN <<EOF\necho "v=$V" > /r1\ncat > /r1b <<X\nnested $V\nX\nEOF\n'
        "RUN <<'EOF'\necho $V\nEOF\n"
        "RUN cat <<A >/r4 && cat <<B >>/r4\none $V\nA\ntwo \\$V\nB\n"
        "RUN <<EOF cat > /r5\nbody $V\nEOF\n"
        "RUN <<-EOF\n\t#!/bin/awk -f\n\t\tBEGIN\n\tEOF\n"
        'RUN echo "<<EOF" > /q; echo $((1<<3)) > /n\n'
        "RUN it's <<EOF\n"
        "RUN cat << EOF >/x\nspaced\nEOF\n"
        "RUN cat <<< EOF\n"
    )
    scripts = [dockerfile.script_of(each) for each in file.stages[0].instructions if isinstance(each, dockerfile.Run)]
    assert [script.command for script in scripts] == [
        'echo "v=$V" > /r1\ncat > /r1b <<X\nnested $V\nX\n',
        "echo $V\n",
        "cat <<A >/r4 && cat <<B >>/r4\none $V\nA\ntwo \\$V\nB",
        "<<EOF cat > /r5\nbody $V\nEOF",
        "#!/bin/awk -f\nBEGIN\n",
        'echo "<<EOF" > /q; echo $((1<<3)) > /n',
        "it's <<EOF",
        "cat << EOF >/x\nspaced\nEOF",
        "cat <<< EOF",
    ]
    assert [script.interpreted for script in scripts] == [False] * 4 + [True] + [False] * 4


def test_copy_here_documents_expand_unless_their_name_is_quoted() -> None:
    file = _parse(
        "FROM scratch\nCOPY <<EOF /c1\nv=$V a=${A} \\$V \"q\" 'q' ${NO:-d}\n# not a comment\ntail \\\nFROM x\nEOF\n"
        'COPY <<"EOF" /c2\nv=$V \\$V "q"\nEOF\nCOPY --chmod=0755 --chown=1:2 <<s.sh /s/\n#!/bin/sh\ns.sh\n'
        "COPY <<EOF /empty\nEOF\nADD <<A file <<-B /d/\na\nA\n\tb\n\tB\nLABEL after=1\n"
    )
    copies = [dockerfile.resolve(each, {"V": "env", "A": "arg"}) for each in file.stages[0].instructions]
    assert [
        [(doc.name, doc.content) for doc in each.heredocs] for each in copies if isinstance(each, dockerfile.Copy)
    ] == [
        [("EOF", "v=env a=arg $V \"q\" 'q' d\n# not a comment\ntail \nFROM x\n")],
        [("EOF", 'v=$V \\$V "q"\n')],
        [("s.sh", "#!/bin/sh\n")],
        [("EOF", "")],
    ]
    add, label = copies[-2:]
    assert isinstance(add, dockerfile.Add)
    assert (add.sources, add.dest, [doc.content for doc in add.heredocs]) == (("file",), "/d/", ["a\n", "b\n"])
    assert isinstance(label, dockerfile.Label)


def test_the_lines_of_a_here_document_belong_to_its_instruction() -> None:
    file = _parse("FROM scratch\nCOPY <<A <<B /\n1\nA\n2\nB\nUSER x\n")
    assert [each.span for each in file.stages[0].instructions] == [dockerfile.Span(2, 6), dockerfile.Span(7, 7)]
    assert file.stages[0].span == dockerfile.Span(1, 7)


def test_onbuild_keeps_the_trigger_and_reads_it_at_once() -> None:
    trigger = _only("ONBUILD copy --from=a <<EOF /x\n$Q\nEOF")
    assert isinstance(trigger, dockerfile.OnBuild)
    assert trigger.trigger == "copy --from=a <<EOF /x\n$Q\nEOF"
    again = dockerfile.parse_instruction(trigger.trigger)
    assert isinstance(again, dockerfile.Copy)
    assert isinstance(trigger.instruction, dockerfile.Copy)
    assert (again.heredocs, again.from_) == (trigger.instruction.heredocs, "a")


@pytest.mark.parametrize("trigger", ["FROM x", "ONBUILD RUN x", "MAINTAINER x", "", "FROB x", "COPY a"])
def test_what_cannot_be_a_trigger(trigger: str) -> None:
    with pytest.raises(errors.DockerfileError):
        _only(f"ONBUILD {trigger}")


def test_a_trigger_of_a_base_image_points_at_the_place_that_brought_it() -> None:
    with pytest.raises(errors.DockerfileError) as caught:
        dockerfile.parse_instruction("FROB x", file="Dockerfile", span=dockerfile.Span(7, 7))
    assert str(caught.value).startswith("Dockerfile:7: unknown instruction FROB")


def test_a_directive_sets_the_escape_character() -> None:
    file = _parse("# syntax=docker/dockerfile:1\n# Escape = `\n# check=skip=all\nFROM scratch\nENV A=C:\\ `\n  B=2\n")
    assert (file.escape, file.syntax, file.check) == ("`", "docker/dockerfile:1", "skip=all")
    env = file.stages[0].instructions[0]
    assert isinstance(env, dockerfile.Env)
    assert dockerfile.resolve(env, {}, escape=file.escape).pairs == (("A", "C:\\"), ("B", "2"))


def test_a_directive_after_a_comment_or_a_blank_line_is_a_comment() -> None:
    for before in ("# hello\n", "\n", "# unknown=x\n"):
        assert _parse(f"{before}# escape=`\nFROM scratch\n").escape == "\\"


def test_bytes_that_are_no_text_survive() -> None:
    file = _parse(b"FROM scratch\nCOPY <<EOF /\xff\n\xfe\nEOF\n")
    copy = file.stages[0].instructions[0]
    assert isinstance(copy, dockerfile.Copy)
    assert copy.dest.encode("utf-8", "surrogateescape") == b"/\xff"
    assert copy.heredocs[0].body.encode("utf-8", "surrogateescape") == b"\xfe\n"


def test_only_the_newline_ends_a_line() -> None:
    file = _parse("FROM scratch\nLABEL a=1\u2028b=2 c=\x1cd\n")
    label = file.stages[0].instructions[0]
    assert isinstance(label, dockerfile.Label)
    assert label.pairs == (("a", "1"), ("b", "2"), ("c", "\x1cd"))


@pytest.mark.parametrize(
    ("line", "continues"), [("RUN a \\", True), ("RUN a \\ \t", True), ("RUN a \\\\", False), ("\\", True)]
)
def test_what_continues_a_line(line: str, continues: bool) -> None:
    file = dockerfile.parse(f"FROM scratch\n{line}\nUSER x\n".encode())
    assert len(file.stages[0].instructions) == (1 if continues else 2)
