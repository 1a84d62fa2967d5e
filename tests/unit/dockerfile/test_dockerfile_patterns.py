"""Wildcards of COPY, --exclude and .dockerignore."""

from __future__ import annotations

import time

import pytest

from strata_builder import dockerfile, errors
from strata_builder.dockerfile import IgnoreRules


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", ".env", True), ("*", "", True), ("*", "a/b", False), (".*", ".d", True), ("d?", "d1", True),
        ("d?", "d", False),
        ("*.txt", "a.txt", True), ("*.txt", "d/a.txt", False), ("*/*.txt", "d/a.txt", True), ("a*b*c", "aXbXc", True),
        ("a*b", "ab/b", False), ("a*/b", "a/c/b", False), ("[a-c]", "b", True), ("[^a-c]", "b", False),
        ("[!a]", "!", True), ("[!a]", "b", False), ("[a-]", "x", None), ("[]a]", "]", None), ("[\\]a]", "]", True),
        ("[\\-]", "-", True), ("[x\\-]", "-", True), ("[", "a", None), ("[a", "b", None), ("\\*", "*", True),
        ("\\*", "a", False), ("a\\", "a", None), ("a[", "b", None), ("**", "ab", True), ("a**b", "ab", True),
        ("[ä-ü]", "ö", True),
        ("?", "\udcff", True), ("?", "/", False), ("*a*a*a*b", "a" * 200, False), ("[^a]", "/", True),
        ("*x", "xyx", True),
        ("a*", "a", True), ("", "", True), ("", "a", False), ("*b*", "abcb/", False),
    ],
)  # fmt: skip
def test_wildcards_match_as_in_go(pattern: str, name: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(dockerfile.BadPattern):
            dockerfile.go_match(pattern, name)
    else:
        assert dockerfile.go_match(pattern, name) is expected


@pytest.mark.parametrize(("source", "wild"), [("a", False), ("a*", True), ("a\\*", False), ("[a]", True), ("a?", True)])
def test_a_source_is_a_pattern_if_it_has_a_wildcard(source: str, wild: bool) -> None:
    assert dockerfile.has_wildcard(source) is wild


def _kept(rules: str | bytes, paths: str) -> list[str]:
    ignore = IgnoreRules.parse(rules if isinstance(rules, bytes) else rules.encode())
    return [path for path in paths.split() if not ignore.excludes(path)]


TREE = "top.py top.txt sub sub/s.py sub/s.txt sub/deep sub/deep/d.py emptydir Dockerfile .dockerignore"


def test_exclude_all_and_take_back_by_pattern() -> None:
    assert _kept("*\n!**/*.py\n", TREE) == ["top.py", "sub/s.py", "sub/deep/d.py"]
    ignore = IgnoreRules.parse(b"*\n!**/*.py\n")
    assert ignore.may_contain("sub")
    assert ignore.may_contain("sub/deep")


def test_a_name_at_any_depth() -> None:
    paths = "test test/x app app/test app/test/y app/svc app/svc/test/z app/keep .git .git/HEAD app/.git/HEAD mytest"
    assert _kept("**/test\n**/.git\n", paths) == ["app", "app/svc", "app/keep", "mytest"]


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ("*.md\n!README*.md\nREADME-secret.md", "README.md"),
        ("*.md\nREADME-secret.md\n!README*.md", "README.md README-secret.md"),
    ],
)
def test_the_last_pattern_that_matches_decides(rules: str, kept: str) -> None:
    assert _kept(rules, "README.md README-secret.md x.md") == kept.split()


@pytest.mark.parametrize(
    "rule",
    ["sub", "/sub", "sub/", "./sub", "app/../sub", "\tsub\t", "//sub//", "  sub  \r", "s[u]b", "\\sub", "**/sub"],
)
def test_spellings_of_one_directory(rule: str) -> None:
    assert _kept(f"{rule}\n", TREE) == ["top.py", "top.txt", "emptydir", "Dockerfile", ".dockerignore"]


@pytest.mark.parametrize(
    ("rules", "paths", "kept"),
    [
        (b"sub\n!sub/deep/d.py\n", TREE, "top.py top.txt sub/deep/d.py emptydir Dockerfile .dockerignore"),
        (b"sub/*\n!sub/*/\n", "sub sub/s.py sub/deep sub/deep/d.py", "sub sub/s.py sub/deep sub/deep/d.py"),
        (b"*.py\nSUB\n", "top.py sub/s.py sub", "sub/s.py sub"),
        (b"# sub\n\\#hash\n", "sub #hash", "sub"),
        (b"[#]hash\n", "#hash x", "x"),
        (b"  # sub\n", "sub #", "sub #"),
        (b"\xef\xbb\xbf  top.py  \r\n\tsub\t\n", "top.py sub sub/x y", "y"),
        (b"Dockerfile\n.dockerignore\n", "Dockerfile .dockerignore x", "x"),
        (b"a/**/b\n", "a/b a/x/b a/x/y/b b a/bc", "b a/bc"),
        (b"**\n!app/keep\n", "x app app/keep app/keep/f app/other", "app/keep app/keep/f"),
        (b"a**b\n", "ab axb a/b a/x/b axxb/c", "axb axxb/c"),
        (b"**b\n", "b ab a/b a/cb bc", "bc"),
        (b"**b*\n", "b ab a/b bc", "ab"),
        (b"x/**\n", "x x/a x/a/b xy", "x xy"),
        (b"x**\n", "x xa xa/b y", "y"),
        (b"**/*\n", "a a/b", ""),
        (b"a?c\n", "abc a/c ac", "a/c ac"),
        (b"a[^b]c\n", "abc axc", "abc"),
        (b"a.c\n", "a.c abc", "abc"),
        (b"\xff*\n", "\udcffx x", "x"),
        (b"! sub\nsub\n! sub/x \n", "sub sub/x sub/y", "sub/x"),
        (b"/\n.\n", "a", "a"),
        (b"***/x\n", "a/x x", "x"),
        (b"", "a", "a"),
    ],
)
def test_rules_of_an_ignore_file(rules: bytes, paths: str, kept: str) -> None:
    assert _kept(rules, paths) == kept.split()


@pytest.mark.parametrize(
    ("rules", "line"), [(b"a\n!\n", 2), (b"[a\n", 1), (b"x\n\na\\\n", 3), (b"[]\n", 1), (b"a[b-]\n", 1)]
)
def test_an_ill_formed_rule_names_its_line(rules: bytes, line: int) -> None:
    with pytest.raises(errors.DockerfileError) as caught:
        IgnoreRules.parse(rules)
    assert str(caught.value.place) == f".dockerignore:{line}"


@pytest.mark.parametrize(
    ("rules", "folder", "enter"),
    [
        ("node_modules\n", "node_modules", False),
        ("node_modules\n", "src", True),
        ("node_modules\n!node_modules/a/b\n", "node_modules", True),
        ("node_modules\n!node_modules/a/b\n", "node_modules/a", True),
        ("node_modules\n!node_modules/a/b\n", "node_modules/b", False),
        ("!a/b\n*\n", "a", False),
        ("*\n!a\n", "b", False),
        ("*\n!**/x\n", "b", True),
        ("**\n!*.md\n", "b", False),
        ("**\n!*/*.md\n", "b", True),
        ("**\n!*/*.md\n", "b/c", False),
        ("**\n", "", True),
        ("a\n!a\n", "a", True),
    ],
)
def test_a_walk_is_pruned_only_where_nothing_can_come_back(rules: str, folder: str, enter: bool) -> None:
    assert IgnoreRules.parse(rules.encode()).may_contain(folder) is enter


def test_the_root_is_never_ignored() -> None:
    rules = IgnoreRules.parse(b"**\n*\n.\n")
    assert not rules.excludes("")
    assert not rules.excludes(".")


@pytest.mark.parametrize(
    ("exclude", "kept"),
    [
        (["*.1"], "a.2 s s/a.1 s/a.2"),
        (["**/*.1", "s"], "a.2"),
        (["s/*", "!s/a.2"], "a.1 a.2 s s/a.2"),
        (["d/a.1"], "a.1 a.2 s s/a.1 s/a.2"),
    ],
)
def test_excludes_are_relative_to_the_source(exclude: list[str], kept: str) -> None:
    patterns = dockerfile.Patterns(exclude)
    assert [path for path in "a.1 a.2 s s/a.1 s/a.2".split() if not patterns.excludes(path)] == kept.split()  # noqa: SIM905


def test_many_files_and_hostile_patterns_take_time_in_proportion() -> None:
    rules = IgnoreRules.parse(
        b"\n".join([b"**/*a*a*a*a*b", b"*.o", b"**/node_modules", *(b"dir%d/*.x" % n for n in range(50))])
    )
    start = time.perf_counter()
    for n in range(5_000):
        rules.excludes(f"src/module{n % 50}/{'a' * 40}{n}.c")
    assert time.perf_counter() - start < 10
    assert not rules.excludes("d/" * 2_000 + "x")
