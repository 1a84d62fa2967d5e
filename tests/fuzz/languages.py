"""Texts that people write: Dockerfiles, words, ignore files, patterns, references, URLs of repositories."""

from __future__ import annotations

import os
import re
from pathlib import Path
from random import Random
from typing import Final

from fuzz import mutation
from fuzz.target import Target, said
from strata_builder import dockerfile as df
from strata_builder import errors, lint
from strata_builder.context import gitref, gitremote, headers, memory, remotefile, submodules, validators
from strata_builder.dockerfile import text
from strata_builder.engine import copying, keys, planner, selecting, steps
from strata_builder.engine.options import Options
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.rootfs import view
from support import dockerfile_grammar, dockerfile_images, dockerfile_plans

_GOLDEN: Final = Path(__file__).parents[1] / "golden" / "dockerfile"
_ENV: Final = {"A": "arg", "V": "a" * 50, "E": "", "NAME": "x y", "STAR": "*", "U": "zwölf"}
_AMD64: Final = Platform.parse("linux/amd64")
_IMAGES: Final = dockerfile_plans.Images(dockerfile_images.ALL)
_TREE: Final = memory.MemoryTree(
    {b"f": b"f", b"d/a.txt": b"a", b"d/s/b": b"b", b"d/s/.c": b"c", b"s p": b"", b"[x]": b"x"}
)
_OPTIONS: Final = Options(_TREE, _AMD64, _AMD64, build_args=_ENV)
_STORED: Final = validators.Stored("file", 1, "0" * 64, "0" * 64, 5, "", "0" * 64)

#: What seldom comes of chance: each line leads to code that no other does.
_DEEP: Final = (
    b"FROM scratch\nRUN <<-A cat <<B\n\tx\n\tA\ny\nB\nCOPY --parents --exclude=d/s/* ./d/./s/b [a-z]*/*.txt **/b /o/\n",
    b"FROM scratch\nENV A=${V//a/b} B=${V/#a*/${E:-x}} C=${V%%a?} D=${E:?told} F=${V##*[a]}\nCOPY d/ /o/\nCOPY --from= f /\n",
    b"FROM scratch\nADD --checksum=sha256:"
    + b"0" * 64
    + b" --chmod=u+s,go=rX https://h/f f d/* /o/\nHEALTHCHECK CMD\n",
    b'FROM scratch AS a\nFROM a\nCOPY --chown=1:2 --link f [[]x] "s p" /o/\nRUN --mount=type=bind,from=a,rw,source=/ x\n',
    b"# escape=`\n# check=skip=all;error=true\nFROM scratch\nWORKDIR c:`\nONBUILD COPY --from=x f /\nSHELL []\n",
    b"FROM scratch\nRUN --mount=type=secret,id=a,source=b x\nRUN --mount=type=cache,id=,target=/c,mode=7777,sharing=x x\n",
)

#: What an attacker would write against a parser that does more than linear work.
_LONG: Final = (
    b"FROM x\nENV A=" + b"${A:-" * 20_000 + b"\n",
    b"FROM x\nRUN " + b"\\\n" * 100_000 + b"x\n",
    b"FROM x\nLABEL " + b"a=b " * 50_000 + b"\n",
    b"FROM x\nRUN " + b"'\"" * 100_000 + b"<<E\n",
    b"FROM x\nRUN " + b"<<E " * 20_000 + b"\n" + b"E\n" * 20_000,
    b"FROM x\n" + b"RUN <<E\nx\nE\n" * 10_000,
    b"#" * 200_000 + b"\nFROM x\n",
    b"# escape =" + b" " * 200_000 + b"\nFROM x\n",
    b"FROM x\nCOPY " + b" " * 200_000 + b"a b\n",
    b"FROM x\nRUN --mount=" + b"," * 50_000 + b" x\n",
    b"ARG A\n" * 20_000,
    b"FROM testbase\nARG " + b"A=b " * 50_000 + b"\n",
    b"FROM x\nCMD " + b"[" * 100_000 + b"\n",
    b"X" * 200_000,
    b"FROM x\nENV A=1 " + b"B" * 200_000 + b"\n",
)
_DOCKERFILE: Final = (
    b"FROM ", b"FROM testbase AS a\n", b"RUN ", b"COPY ", b"ADD ", b"ENV ", b"ARG ", b"LABEL ", b"CMD ", b"ONBUILD ",
    b"EXPOSE ", b"SHELL ", b"HEALTHCHECK ", b"VOLUME ", b"STOPSIGNAL ", b"USER ", b"WORKDIR ", b"--mount=", b"--from=",
    b"--chmod=", b"--chown=", b"--exclude=", b"--parents ", b"type=cache,", b"target=", b"=", b",", b"\n", b" \\\n", b"\\",
    b"`", b"$", b"${", b"}", b":-", b"##", b"//", b'"', b"'", b"<<E", b"<<-'E'", b"\nE\n", b"[", b"]", b'["a"]', b"#",
    b"# escape=`\n", b"# check=", b"\t", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"1-65535", b"9" * 5000,
    b"\xd9\xa3", b"\xed\xa0\x80", b"--interval=", b"1h", b"0.", b"a+rwX,", b"0777", b"\x0b", b"\xc2\x85", b"* ", b"../",
)  # fmt: skip
_WORD: Final = (
    b"$", b"${", b"}", b"{", b"A", b"V", b"E", b"NO", b"STAR", b"U", b":-", b"-", b":+", b"+", b":?", b"?", b"#", b"##", b"%",
    b"%%", b"/", b"//", b"*", b"\\", b"`", b"'", b'"', b" ", b"${V//a/", b"${A:-", b"${V%", b"${V#*", b"[", b"]", b"\xff",
)  # fmt: skip
_RULES: Final = (
    b"a", b"*", b"**", b"/", b"!", b"[", b"]", b"^", b"-", b"\\", b"\n", b"?", b"\xff", b"..", b"#", b" ", b"**/", b"*a",
)  # fmt: skip


def _place(error: errors.DockerfileError, lines: int) -> None:
    said(error)
    assert error.place is not None
    assert 1 <= error.place.line <= error.place.end_line <= lines


class _Remotes:
    def tree(self, url: str, step: steps.Step) -> selecting.Source:
        found = remotefile.RemoteFile(_STORED, lambda: Path(os.devnull))
        return selecting.Source(found, found.path, found.path, found.entry, dated=True)


def plan(source: bytes) -> None:
    """Every stage is planned, not only those that a target needs; then keyed, and what its COPYs name placed on nothing."""
    lines = source.count(b"\n") + 1
    try:
        file = df.parse(source)
        made = planner.make(file, _OPTIONS, _IMAGES)
        lint.check(file, _OPTIONS, _IMAGES)
        keys.of_plan(made, _OPTIONS, _Remotes())
        for step in [step for stage in made.stages.values() for step in stage.steps]:
            if isinstance(step.origin, steps.FromTree):
                _copied(step, step.origin)
    except errors.DockerfileError as error:
        _place(error, lines)
    except (errors.SourceNotFound, errors.LayerError) as error:
        said(error)
    except (errors.BaseImageNotFound, errors.InvalidSpec, errors.NotSupported) as error:
        said(error)


def _copied(step: steps.Step, origin: steps.FromTree) -> None:
    """The entries of the layer: below the root, each once, parents first."""
    placed = copying.copy(step, keys.sources_in(origin, step, _Remotes()), view.View(), epoch=None)
    found = [item.entry.path for item in placed.items]
    assert len(set(found)) == len(found)
    for number, path in enumerate(found):
        assert not {b"..", b"."} & set(path.split(b"/"))
        assert b"/" not in path or path.rpartition(b"/")[0] in found[:number]


def word(source: bytes) -> None:
    for escape in "\\`":
        try:
            found = df.expand(text.decode(source), _ENV, escape=escape)
        except errors.DockerfileError as error:
            said(error)
        else:
            text.encode(found)


def ignore(source: bytes) -> None:
    """Rules up to a NUL byte, paths after it: what is kept below a folder can be reached by a walk."""
    rules, _, rest = source.partition(b"\0")
    try:
        found = df.IgnoreRules.parse(rules)
    except errors.DockerfileError as error:
        _place(error, rules.count(b"\n") + 1)
        return
    for path in [text.decode(part).strip("/") for part in rest.split(b"\0")[:8]]:
        parts = path.split("/")
        if "" in parts or ".." in parts or "." in parts or found.excludes(path):
            continue
        assert all(found.may_contain("/".join(parts[:n])) for n in range(1, min(len(parts), 40))), path


def wildcard(source: bytes) -> None:
    pattern, _, name = text.decode(source).partition("\0")
    try:
        df.go_match(pattern, name)
    except df.BadPattern:
        return


def reference(source: bytes) -> None:
    """What is read as a reference is written so that it reads the same."""
    given = source.decode("utf-8", "surrogateescape")
    try:
        found = Reference.parse(given)
    except errors.InvalidSpec as error:
        said(error)
        return
    assert given.isascii()
    assert Reference.parse(str(found)) == Reference.parse(found.familiar) == found
    named = f"{found.host}/{found.repository}"  # a tag may have dots in a row
    assert not {" ", "/.", "//", ".."} & {named[at : at + n] for at in range(len(named)) for n in (1, 2)}


def repository(source: bytes) -> None:
    """URLs of git repositories and build contexts, and after a line's end that of a submodule: none becomes an option or
    a program of git's."""
    given, _, inner = source.decode("utf-8", "surrogateescape").partition("\n")
    try:
        gitref.parse_context(given)
        found = gitref.parse_url(given)
        found = gitref.parse_url(submodules.resolve(found, inner)) if inner else found
    except errors.BuildError as error:
        said(error)
        return
    assert not found.address.startswith("-")
    assert not re.match(r"[A-Za-z0-9+.-]*::", found.address)
    assert not found.host.startswith("-")


def remote_file(source: bytes) -> None:
    """What a server may say about a file: its URL, its name, its time, in lines."""
    first, _, rest = source.decode("latin-1").partition("\n")
    name, _, time = rest.partition("\n")
    assert 0 <= headers.parse_time(time) <= 2**33
    try:
        found = headers.file_name(f"https://host/{first}", name, first)
    except errors.InvalidSpec as error:
        said(error)
        return
    assert "/" not in found
    assert found not in ("", ".", "..")
    assert len(found.encode("utf-8", "surrogateescape")) < 256


def listing(source: bytes) -> None:
    """What git says of a server's references and of .gitmodules."""
    submodules.declared(source)
    try:
        gitremote.choose(source, "main", "https://host/x.git")
    except errors.ReferenceNotFound as error:
        said(error)


def platform(source: bytes) -> None:
    given = source.decode("utf-8", "surrogateescape")
    try:
        found = Platform.parse(given)
    except errors.InvalidSpec as error:
        said(error)
    else:
        assert found in found.acceptable()
        assert Platform.parse(str(found)) == found


def _grammar(count: int) -> tuple[bytes, ...]:
    made = dockerfile_grammar.Grammar(7, odd=0.03)
    return tuple(made.dockerfile().encode() for _ in range(count))


def _written(rng: Random, data: bytes, pieces: tuple[bytes, ...]) -> bytes:
    """A text of pieces, without any order."""
    if rng.random() < 0.5:
        return b"".join(rng.choices(pieces, k=rng.randint(1, 14)))
    return mutation.changed(rng, data, pieces)


TARGETS: Final = (
    Target(
        "Dockerfile parser and planner",
        plan,
        (*(path.read_bytes() for path in sorted(_GOLDEN.glob("*/Dockerfile"))), *_grammar(60), *_DEEP),
        _DOCKERFILE,
        once=_LONG,
        runs=1000,
    ),
    Target(
        "word expansion",
        word,
        (b"${V%%a*}x$A", b"'$A'\"$NAME\"\\$A", b"${NO:-${A}b}", b"${V//a/b}", b"${E:+x}${A:?no}"),
        _WORD,
        runs=1500,
        change=_written,
        stretched=16 << 10,
    ),
    Target(
        "ignore matcher",
        ignore,
        (b"*.md\n!README*\n\0README.md\0a/b/c", b"**/a\n!a/*/b\n#c\n\0a/x/b", b"/sub/\n!sub/deep\n\0sub/deep/d"),
        (*_RULES, b"\0"),
        change=_written,
    ),
    Target("wildcards of COPY", wildcard, (b"*.t?t\0a.txt", b"[a-c]*[^x]\0abc"), (*_RULES, b"\0"), change=_written),
    Target(
        "reference parser",
        reference,
        (b"busybox", b"host:5000/a/b:t", b"a.b/c@sha256:" + b"0" * 64, b"[::1]:5000/x:y", b"localhost/x", b"x:t@sha256:0"),
        (b"/", b":", b"@", b".", b"_", b"__", b"-", b"[", b"]", b"A", b"sha256:", b"0" * 64, b"docker.io/", b"\xff", b" "),
        runs=2000,
    ),
    Target(
        "git URLs",
        repository,
        (
            b"https://host/a/b.git#main:sub", b"git@host:team/app.git", b"ssh://git@host:22/a.git?ref=x",
            b"https://h/a/b.git\n../sibling.git", b"ssh://g@h/a\n./x/../y", b"https://user:pw@host/x.git",
            b"http://[::1]:80/x.git", b"github.com/a/b#v1", b"https://h/a.git?checksum=abcdef1&keep-git-dir=true&mtime=commit",
            b"https://h/a.git?submodules=false&subdir=x&branch=y&tag=z&commit=" + b"a" * 40,
        ),
        (b"#", b":", b"@", b"?", b"&", b"ref=", b"subdir=", b"..", b"/", b"-", b"::", b"\n../", b"\n./", b"%00", b"%2e", b"[",
         b"]", b"\\", b"//", b"mtime=", b"checksum=", b"keep-git-dir=", b"fetch-by-commit=", b"true", b"1", b"a" * 40),
        runs=2000,
    ),
    Target(
        "names and times of remote files",
        remote_file,
        (
            b"a/b.txt\nattachment; filename=\"x.tar\"\nWed, 21 Oct 2015 07:28:00 GMT",
            b"a/\nattachment; filename*=UTF-8''%e2%82%ac.txt; filename*0=a\nSunday, 06-Nov-94 08:49:37 GMT",
        ),
        (
            b"filename*=", b"''", b"filename*0*=", b"filename*1=", b"utf-16", b"unicode_escape''%5Cud800", b"idna''a..b",
            b"punycode''%ff", b"%00", b"%2F", b"..", b'"', b";", b"\\", b"=", b"99999", b"GMT", b"-9999", b"\0", b"utf-7''",
            b"undefined''", b"Jan", b"0", b":", b"+",
        ),
        runs=2000,
    ),
    Target(
        "listings of git",
        listing,
        (b"0" * 40 + b"\trefs/heads/main\n", b"submodule.a.path\na\0submodule.a.url\n../b\0"),
        (b"\0", b"\n", b"\t", b"submodule.", b".path", b".url", b"refs/", b"^{}", b"\xff"),
    ),
    Target("platforms", platform, (b"linux/arm/v7", b"linux/x86_64", b"macos/arm64/8"), (b"/", b"v9", b"0" * 70, b"ARM")),
)  # fmt: skip
