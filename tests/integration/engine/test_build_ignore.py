"""What .dockerignore keeps out of the context."""

from __future__ import annotations

import pytest

from support.strata_build import Builder, Image

pytestmark = pytest.mark.root

TREE = ["top.py", "top.txt", "sub/s.py", "sub/s.txt", "sub/deep/d.py", "app/keep", "#hash"]
TREE += ["README.md", "README-secret.md", "a/b", "a/x/b", "a/x/y/b", "a/c"]
SUB = {"sub/s.py", "sub/s.txt", "sub/deep/d.py"}
B = {"a/b", "a/x/b", "a/x/y/b"}


def _files(image: Image) -> set[str]:
    return {line.split()[-1] for line in image.listed() if line.startswith("f ")}


def test_what_is_included_again_brings_its_parents(builder: Builder) -> None:
    files = dict.fromkeys(TREE[:5], "") | {"emptydir/": "", ".dockerignore": "*\n!**/*.py\n"}
    image = builder.make("FROM scratch\nCOPY . /\n", files)
    assert [line.split()[-1] for line in image.listed()] == ["sub", "sub/deep", "sub/deep/d.py", "sub/s.py", "top.py"]
    assert "'top.txt' is not in" in builder.fault("FROM scratch\nCOPY top.txt /\n", files)


def test_two_stars_match_at_any_depth_directories_included(builder: Builder) -> None:
    names = ["test/x", "app/test/y", "app/svc/test/z", "app/keep", ".git/HEAD", "app/.git/HEAD"]
    files = dict.fromkeys(names, "") | {".dockerignore": "**/test\n**/.git\n.dockerignore\nDockerfile\n"}
    image = builder.make("FROM scratch\nCOPY . /\n", files)
    assert image.listed() == ["d 0755 0:0 app", "f 0644 0:0 app/keep", "d 0755 0:0 app/svc"]


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        ("*.md\n!README*.md\nREADME-secret.md", {"README-secret.md"}),
        ("*.md\nREADME-secret.md\n!README*.md", set()),
        ("/sub", SUB),
        ("sub/", SUB),
        ("./sub", SUB),
        ("app/../sub", SUB),
        ("sub\n!sub/deep/d.py", SUB - {"sub/deep/d.py"}),
        ("sub/*\n!sub/*/", set()),
        ("*.py", {"top.py"}),
        ("SUB", set()),
        ("# sub", set()),
        ("\\#hash", {"#hash"}),
        ("[#]hash", {"#hash"}),
        ("  top.py  \r\n\tsub\t", SUB | {"top.py"}),
        ("\ufefftop.py", {"top.py"}),
        ("Dockerfile\n.dockerignore", {"Dockerfile", ".dockerignore"}),
        ("a/**/b", B),
        ("**\n!app/keep", {*TREE, "Dockerfile", ".dockerignore"} - {"app/keep"}),
    ],
)
def test_a_rule_takes_out_exactly(builder: Builder, rules: str, gone: set[str]) -> None:
    image = builder.make("FROM scratch\nCOPY . /\n", dict.fromkeys(TREE, "") | {".dockerignore": rules + "\n"})
    assert {*TREE, "Dockerfile", ".dockerignore"} - _files(image) == gone


@pytest.mark.parametrize("rule", ["!", "[a"])
def test_a_broken_rule_is_an_error_that_names_the_file(builder: Builder, rule: str) -> None:
    assert ".dockerignore" in builder.fault("FROM scratch\nCOPY . /\n", {".dockerignore": rule + "\n"})


def test_the_ignore_file_beside_the_dockerfile_is_the_one_used(builder: Builder) -> None:
    files = dict.fromkeys(TREE, "") | {".dockerignore": "sub\n", "my.Dockerfile.dockerignore": "app\n"}
    context = builder.context(files | {"my.Dockerfile": "FROM scratch\nCOPY . /\n"})
    found = _files(builder.build(context, "-f", str(context / "my.Dockerfile")))
    assert found >= SUB
    assert "app/keep" not in found


def test_ignore_rules_do_not_touch_other_stages(builder: Builder) -> None:
    lines = "FROM testbase AS a\nRUN mkdir /o && touch /o/top.py\nFROM scratch\nCOPY --from=a /o /\n"
    assert _files(builder.make(lines, {".dockerignore": "*\n"})) == {"top.py"}
