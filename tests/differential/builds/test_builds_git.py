"""ADD of repositories: what Strata and BuildKit make of the same URLs of the same git server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from differential.builds import bench, cases
from support import git_server
from support.git_server import HttpServer, Repository

pytestmark = pytest.mark.root


@dataclass(frozen=True, slots=True)
class Served:
    """What stands for {app}, {private}, {first} and {last} in the cases."""

    words: Mapping[str, str]

    def case(self, name: str, lines: str, refused: str | None) -> cases.Case:
        head = "" if refused is None else f"refused: {refused}\n"
        text = f"{head}secret: GIT_AUTH_TOKEN=tok\n-- Dockerfile --\nFROM testbase\n{lines}\n-- local --\nlocal\n"
        for word, meaning in self.words.items():
            text = text.replace(f"{{{word}}}", meaning)
        return cases.parse(f"git/{name}", text)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    inner = Repository.make(root, "inner")
    inner.commit({"file": "inner"})
    app = Repository.make(root, "app")
    first = app.commit({"README.md": "one", "sub/f": "sub", "sub/deep/g": "deep", "run.sh": "#!/bin/sh\n"})
    (app.folder / "run.sh").chmod(0o755)
    (app.folder / "link").symlink_to("sub/f")
    git_server.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.bare, "mod", cwd=app.folder)
    last = app.commit({"README.md": "two", ".gitmodules": '[submodule "mod"]\n\tpath = mod\n\turl = ../inner.git\n'})
    git_server.git("tag", "light", first, cwd=app.folder)
    git_server.git("tag", "-m", "release", "v1", first, cwd=app.folder)
    app.push("light", "v1", f"{first}:refs/heads/old", f"{first}:refs/heads/both", f"{last}:refs/tags/both")
    tag = git_server.git("rev-parse", "v1", cwd=app.folder)
    _private(root)
    with HttpServer(root) as server, HttpServer(root, user="x-access-token", password="tok") as private:
        words = {"app": f"{server.url}/app.git", "private": f"{private.url}/private.git"}
        yield Served({**words, "first": first, "last": last, "tag": tag})


def _private(root: Path) -> None:
    Repository.make(root, "private").commit({"secret": "s"})


#: Which Strata leaves out, as it leaves out every .git that nobody asked for.
SUBMODULE = re.compile(r"/\.git: only BuildKit has it: file")
ALIKE = {
    "default-branch": "ADD {app} /o",
    "destinations": "WORKDIR /w\nADD {app} a\nADD {app} /tmp\nADD {app} ./b/",
    "branch": "ADD {app}#old /o",
    "commit": "ADD {app}#{first} /o",
    "annotated-tag": "ADD {app}#v1 /o",
    "light-tag": "ADD {app}#light /o",
    "branch-and-tag-of-one-name": "ADD {app}#both /o\nADD {app}?tag=both /p",
    "full-reference": "ADD {app}#refs/heads/old /o",
    "folder": "ADD {app}#main:sub /o\nADD {app}#:sub/deep /p\nADD {app}#:/sub/ /q",
    "folder-in-submodule": "ADD {app}#main:mod /o",
    "query": "ADD {app}?branch=old /o\nADD {app}?tag=v1&subdir=sub /p\nADD {app}?ref=old#old:sub /q",
    "query-of-submodules": "ADD {app}?submodules=false /o\nADD {app}?submodules /p",
    "checksum": "ADD --checksum={last} {app} /o\nADD --checksum={first} {app}#v1 /p\nADD {app}?tag=v1&checksum={first} /q",
    "checksum-short": "ARG SUM={first}\nADD --checksum=${SUM%%????????????????????????????????} {app}#old /o",
    "checksum-of-the-tag": "ADD --checksum={tag} {app}#v1 /o",
    "by-commit": "ADD {app}?ref=old&checksum={first}&fetch-by-commit=true /o",
    "owner-and-mode": "ADD --chown=app:extra {app} /o\nADD --chmod=u=rwX,go= {app} /p\nADD --chmod=0700 {app}#:sub /q",
    "exclude": "ADD --exclude=*.md --exclude=sub/deep {app} /o",
    "with-others": "ADD {app}#main:sub local /o/\nADD {app}#old {app}#main:sub /p/",
    "linked": "RUN mkdir /real && ln -s /real /l\nADD --link {app}#old /l\nADD {app}#:sub /real",
    "variables": "ARG REPO={app}\nARG REF=old\nADD ${REPO}#${REF} /o\nADD --keep-git-dir=false $REPO /p",
    "private": "ADD {private} /o",
}
#: A symbolic --chmod changes the directory that is made for a folder's content in neither builder; for that of a
#: repository BuildKit makes an exception.
KNOWN = {"owner-and-mode": ["step 3: p: mode 0755, BuildKit 0700"]}


@pytest.mark.parametrize("name", ALIKE)
def test_a_repository_is_added_alike(name: str, served: Served, builders: bench.Bench) -> None:
    found = [line for line in builders.compare(served.case(name, ALIKE[name], None)) if not SUBMODULE.search(line)]
    assert found == KNOWN.get(name, []), builders.said


REFUSED = {
    "wrong-checksum": ("ADD --checksum={last} {app}#old /o", "the checksum asks for {last}"),
    "wrong-commit": ("ADD --checksum={last} {app}#{first} /o", "the checksum asks for {last}"),
    "old-commit-of-nothing": ("ADD {app}?commit={first} /o", "the checksum asks for {first}"),
    "no-checksum": ("ADD --checksum=main {app} /o", "'main' of a git repository is not the name of a commit"),
    "no-branch": ("ADD {app}?branch=v1 /o", "no branch or tag 'refs/heads/v1'"),
    "no-reference": ("ADD {app}#none /o", "no branch or tag 'none'"),
    "conflict": ("ADD {app}?tag=v1#main /o", "gives more than one ref"),
    "unknown-option": ("ADD {app}?depth=1 /o", "an option that is not known: depth="),
    "no-folder": ("ADD {app}#main:none /o", "'none' does not exist"),
    "git-dir-twice": ("ADD --keep-git-dir=true {app}?keep-git-dir=false /o", "--keep-git-dir says true"),
    "checksum-twice": ("ADD --checksum={last} {app}?checksum={first} /o", "--checksum says {last}"),
    "two-with-checksum": ("ADD --checksum={last} {app} {app}#old /o/", "--checksum is for one URL"),
    "copy": ("COPY {app} /o", "COPY cannot take"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse_and_strata_says_why(name: str, served: Served, builders: bench.Bench) -> None:
    found = builders.compare(served.case(f"refused-{name}", *REFUSED[name]))
    assert found == [], builders.said
