"""Where COPY and ADD put what they are given, and with which modes and owners."""

from __future__ import annotations

import os

import pytest

from support.strata_build import Builder

pytestmark = pytest.mark.root

LINKS = {
    "real/f": "hello",
    "link -> real/f": "",
    "d/x": "x",
    "d/lx -> x": "",
    "d/dead -> nope/none": "",
    "d/ld -> ../real": "",
    "ld -> real": "",
    "esc -> ../../../real/f": "",
    "out -> /etc/passwd": "",
}


def test_a_link_that_is_named_is_followed_and_one_in_a_directory_stays(builder: Builder) -> None:
    lines = "FROM scratch\nCOPY link /o/l\nCOPY l* /w/\nCOPY ld /e\nCOPY d /o/d\nCOPY esc /x/\n"
    image = builder.make(lines, LINKS)
    assert image.listed() == [
        "d 0755 0:0 e",
        "f 0644 0:0 e/f",
        "d 0755 0:0 o",
        "d 0755 0:0 o/d",
        "l o/d/dead -> nope/none",
        "l o/d/ld -> ../real",
        "l o/d/lx -> x",
        "f 0644 0:0 o/d/x",
        "f 0644 0:0 o/l",
        "d 0755 0:0 w",
        "f 0644 0:0 w/f",
        "f 0644 0:0 w/link",
        "d 0755 0:0 x",
        "f 0644 0:0 x/esc",
    ]
    assert {image.read(path) for path in ("o/l", "e/f", "x/esc", "w/link", "w/f")} == {"hello"}


def test_links_on_the_destination_are_followed_inside_the_image(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase\n"
        "RUN mkdir -p /opt/real && ln -s /opt/real /opt/link && echo old > /opt/t && ln -s /opt/t /opt/tl\n"
        "COPY a /opt/link/a\nCOPY b /opt/link/sub/b\nCOPY dd /opt/link\nCOPY a /opt/tl\n",
        {"a": "A", "b": "B", "dd/c": "C"},
    )
    read = {path: image.read(path) for path in ("opt/real/a", "opt/real/sub/b", "opt/real/c", "opt/t")}
    assert read == {"opt/real/a": "A", "opt/real/sub/b": "B", "opt/real/c": "C", "opt/t": "A"}
    assert image.listed("opt/link", "opt/tl") == ["l opt/link -> /opt/real", "l opt/tl -> /opt/t"]
    assert not [path for layer in image.own[1:] for path in layer if path in ("opt/link", "opt/tl")]


BLOCKED = "FROM testbase\nRUN mkdir -p /usr/xbin && ln -s usr/xbin /xbin && echo o > /y && mkdir -p /t/f /x\n"
BLOCKING = {"rootfs/xbin/foo": "foo", "d/f": "f", "f": "f"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("COPY rootfs /", "cannot copy to non-directory: /xbin is a symbolic link"),
        ("COPY d /y", "cannot copy to non-directory: /y is a file"),
        ("COPY f /y/", "cannot copy to non-directory: /y is a file"),
        ("COPY d /t", "cannot copy a file over the directory /t/f"),
    ],
)
def test_a_directory_never_replaces_a_link_or_a_file(builder: Builder, line: str, said: str) -> None:
    fault = builder.fault(BLOCKED + line + "\n", BLOCKING)
    assert said in fault
    assert "Dockerfile:3" in fault


def test_a_file_copied_to_an_existing_directory_lands_in_it(builder: Builder) -> None:
    assert builder.make(BLOCKED + "COPY f /x\n", BLOCKING).read("x/f") == "f"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("COPY out /z", "'out' is not in"),
        ("COPY missing /z", "'missing' is not in"),
        ("COPY d/x real/f /o", "several sources need a directory"),
        ("COPY --chmod=999 real/f /f", "999"),
        ("COPY --chown=app real/f /f", "'app'"),
    ],
)
def test_what_cannot_be_copied_is_named_with_its_line(builder: Builder, line: str, said: str) -> None:
    fault = builder.fault(f"FROM scratch\n{line}\n", LINKS)
    assert said in fault
    assert "Dockerfile:2" in fault


def test_an_unknown_owner_is_an_error_where_a_passwd_exists(builder: Builder) -> None:
    assert "'nosuchuser'" in builder.fault("FROM testbase\nCOPY --chown=nosuchuser f /f\n", {"f": ""})


def test_several_sources_may_go_to_an_existing_directory_without_a_slash(builder: Builder) -> None:
    image = builder.make("FROM scratch\nWORKDIR /app\nCOPY a b /app\n", {"a": "A", "b": "B"})
    assert (image.read("app/a"), image.read("app/b")) == ("A", "B")


def test_existing_directories_keep_mode_and_owner_and_new_ones_get_the_default(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase\nRUN mkdir -p /app && chown 1000:1000 /app && chmod 1777 /app\n"
        "COPY d /app\nCOPY d /new\nCOPY --chown=9:9 d /new2\nCOPY d /tmp\nCOPY . /all/\n",
        {"0700 d/": "", "0600 d/f": "f", "0750 d/s/": "", "d/s/g": "g"},
    )
    lines = image.listed("app", "new", "new2", "tmp", "all")
    assert lines == [
        "d 0755 0:0 all",
        "f 0644 0:0 all/Dockerfile",
        "d 0700 0:0 all/d",
        "f 0600 0:0 all/d/f",
        "d 0750 0:0 all/d/s",
        "f 0644 0:0 all/d/s/g",
        "d 1777 1000:1000 app",
        "f 0600 0:0 app/f",
        "d 0750 0:0 app/s",
        "f 0644 0:0 app/s/g",
        "d 0755 0:0 new",
        "f 0600 0:0 new/f",
        "d 0750 0:0 new/s",
        "f 0644 0:0 new/s/g",
        "d 0755 9:9 new2",
        "f 0600 9:9 new2/f",
        "d 0750 9:9 new2/s",
        "f 0644 9:9 new2/s/g",
        "f 0600 0:0 tmp/f",
        "d 0750 0:0 tmp/s",
        "f 0644 0:0 tmp/s/g",
    ]
    assert image.own[4]["tmp"].text == "d 1777 0:0 tmp"


def test_owners_come_from_the_flag_and_the_images_own_passwd(builder: Builder) -> None:
    context = builder.context(
        {"0640 f": "f"},
        "FROM testbase\nUSER app\nCOPY f /c1/f\nCOPY --chown=app f /c2/d/f\nCOPY --chown=app:extra f /c3/\n"
        "COPY --chown=77 f /c4/\nCOPY --chown=bob f /c5/\nCOPY --chown=0:extra f /c6/f\n",
    )
    os.chown(context / "f", 1234, 1234)
    owners = {"c1": "0:0", "c2": "1000:1000", "c3": "1000:3333", "c4": "77:77", "c5": "1111:2222", "c6": "0:3333"}
    wanted = [f"d 0755 {owner} {name}" for name, owner in owners.items()] + ["d 0755 1000:1000 c2/d"]
    wanted += [f"f 0640 {owner} {name}{'/d' * (name == 'c2')}/f" for name, owner in owners.items()]
    assert sorted(builder.build(context).listed()) == sorted(wanted)


def test_chown_by_number_needs_no_passwd(builder: Builder) -> None:
    assert builder.make("FROM scratch\nCOPY --chown=1000:1000 f /f\n", {"f": ""}).listed() == ["f 0644 1000:1000 f"]


def test_chmod_reaches_implied_parents_and_directories_whatever_the_umask(builder: Builder) -> None:
    context = builder.context(
        {"f": "f", "d/s/g": "g"},
        "FROM testbase\nCOPY --chmod=0600 f /dest/f\nCOPY --chmod=0777 f /a/b/c/f\nCOPY --chmod=444 d /dd/\n"
        "ARG M=0751\nCOPY --chmod=$M f /v\n",
    )
    assert builder.build(context, umask=0o077).listed() == [
        "d 0777 0:0 a",
        "d 0777 0:0 a/b",
        "d 0777 0:0 a/b/c",
        "f 0777 0:0 a/b/c/f",
        "d 0444 0:0 dd",
        "d 0444 0:0 dd/s",
        "f 0444 0:0 dd/s/g",
        "d 0600 0:0 dest",
        "f 0600 0:0 dest/f",
        "f 0751 0:0 v",
    ]


def test_wildcards_take_dots_stop_at_slashes_and_may_match_nothing(builder: Builder) -> None:
    image = builder.make(
        "FROM scratch\nCOPY * /a/\nCOPY .* /b/\nCOPY d? /c/\nCOPY nomatch* /n/\nCOPY x nomatch* /k/\n",
        {"x": "x", ".env": "", ".d/f": "", "d/.h": "", "d1/p": "", "d2/q": ""},
    )
    names = [line.split()[-1] for line in image.listed() if line.startswith("f ")]
    below_a = ["a/.env", "a/.h", "a/Dockerfile", "a/f", "a/p", "a/q", "a/x"]
    assert names == [*below_a, "b/.env", "b/f", "c/p", "c/q", "k/x"]
    assert image.listed("n") == []


def test_wildcards_match_in_another_stage_as_well(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase AS s\nRUN mkdir /foo && touch /foo/.h /foo/x\n"
        "FROM scratch\nCOPY --from=s /foo/* /foo/\nCOPY --from=s /none/* /n/\n"
    )
    assert image.listed() == ["d 0755 0:0 foo", "f 0644 0:0 foo/.h", "f 0644 0:0 foo/x"]


def test_exclude_is_relative_to_the_source_and_holds_for_files_too(builder: Builder) -> None:
    names = ["d/a.1", "d/a.2", "d/s/a.1", "d/s/a.2", "storage/views/v", "storage/cache/c", "a.txt", "b.txt"]
    image = builder.make(
        "FROM scratch\nCOPY --exclude=*.1 d /o\nCOPY --exclude=**/*.1 --exclude=s d /p\n"
        "COPY --exclude=views storage /q/\nCOPY --exclude=storage/views storage /r/\n"
        "COPY --exclude=a.txt *.txt /t/\n",
        dict.fromkeys(names, ""),
    )
    assert [line.split()[-1] for line in image.listed()] == [
        *["o", "o/a.2", "o/s", "o/s/a.1", "o/s/a.2"],
        *["p", "p/a.2"],
        *["q", "q/cache", "q/cache/c"],
        *["r", "r/cache", "r/cache/c", "r/views", "r/views/v"],
        *["t", "t/b.txt"],
    ]


def test_workdir_makes_directories_for_the_user_and_is_joined_and_cleaned(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase\nWORKDIR rel\nWORKDIR /home/ex/\nCOPY f sub/\nUSER 1000\n"
        "WORKDIR /work/deep\nWORKDIR ../up/./x/\nCOPY f .\n",
        {"f": "f"},
    )
    assert image.config["config"]["WorkingDir"] == "/work/up/x"
    assert image.listed("rel", "home/ex", "work") == [
        "d 0755 0:0 home/ex",
        "d 0755 0:0 home/ex/sub",
        "f 0644 0:0 home/ex/sub/f",
        "d 0755 0:0 rel",
        "d 0755 1000:1000 work",
        "d 0755 1000:1000 work/deep",
        "d 0755 1000:1000 work/up",
        "d 0755 1000:1000 work/up/x",
        "f 0644 0:0 work/up/x/f",
    ]


def test_workdir_stops_at_the_root_and_leaves_what_exists_alone(builder: Builder) -> None:
    image = builder.make("FROM testbase\nUSER 5\nWORKDIR /tmp\nWORKDIR /a\nWORKDIR ../../x\n")
    assert image.config["config"]["WorkingDir"] == "/x"
    assert image.listed() == ["d 0755 5:5 a", "d 0755 5:5 x"]


def test_a_file_with_the_name_of_a_whiteout_is_refused(builder: Builder) -> None:
    assert ".wh." in builder.fault("FROM scratch\nCOPY . /\n", {".wh.x": ""})
    assert ".wh." in builder.fault("FROM testbase\nRUN touch /.wh.x\n")
