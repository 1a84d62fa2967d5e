"""USER and --chown, by the image's own files."""

from __future__ import annotations

import contextlib

import pytest

from strata_builder import errors
from strata_builder.entries import Entry, Kind
from strata_builder.layers import index
from strata_builder.rootfs import users, view

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:2:2:daemon:/sbin:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
bob:x:1111:2222:bob:/srv/bob:/bin/sh
short:x:9
odd:x:abc:1:::
"""
GROUP = b"root:x:0:root\ndaemon:x:2:\napp:x:1000:\nbobs:x:2222:\nextra:x:3333:app,bob\n"


def image(passwd: bytes | None = PASSWD, group: bytes | None = GROUP) -> view.View:
    built = index.Builder()
    for path, text in ((b"etc/passwd", passwd), (b"etc/group", group)):
        if text is not None:
            built.add(Entry(path, Kind.FILE, 0o644, size=len(text), digest="00" * 32), text)
    return view.View([built.finish()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app", (1000, 1000, (1000, 3333), "/home/app")),
        ("bob", (1111, 2222, (2222, 3333), "/srv/bob")),
        ("1000", (1000, 1000, (1000, 3333), "/home/app")),
        ("app:extra", (1000, 3333, (3333,), "/home/app")),
        ("app:0", (1000, 0, (0,), "/home/app")),
        ("77", (77, 0, (0,), "/")),
        ("77:88", (77, 88, (88,), "/")),
        ("", (0, 0, (0,), "/root")),
        ("0", (0, 0, (0,), "/root")),
        ("root", (0, 0, (0,), "/root")),
    ],
)
def test_user_gives_ids_groups_and_home(text: str, expected: tuple):
    found = users.identity(image(), text)
    assert (found.uid, found.gid, found.groups, found.home) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app", (1000, 1000)),
        ("app:extra", (1000, 3333)),
        ("77", (77, 77)),
        ("bob", (1111, 2222)),
        ("0:extra", (0, 3333)),
        ("1000:2", (1000, 2)),
        ("4294967294", (4294967294, 4294967294)),
        ("bob:", (1111, 2222)),
        ("1111:", (1111, 1111)),
        (":extra", (0, 3333)),
    ],
)
def test_chown_gives_an_owner_and_a_lone_number_is_both(text: str, expected: tuple):
    assert users.owner(image(), text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nobody", "there is no user 'nobody' in the image's /etc/passwd"),
        ("app:nogroup", "there is no group 'nogroup' in the image's /etc/group"),
        ("4294967295", "no user number"),
        ("app:99999999999", "no group number"),
        ("odd", "there is no user 'odd'"),
        ("²", "there is no user '²'"),
        ("٣", "there is no user '٣'"),
        ("app:²", "there is no group '²'"),
        ("9" * 5000, "no user number"),
        ("app:" + "9" * 5000, "no group number"),
    ],
)
def test_a_name_or_number_that_is_none_is_refused(text: str, message: str):
    for ask in (users.owner, users.identity):
        with pytest.raises(errors.DockerfileError, match=message):
            ask(image(), text)


def test_an_image_without_files_knows_numbers_and_root_alone():
    bare = image(None, None)
    assert users.owner(bare, "1000:1000") == (1000, 1000)
    assert users.identity(bare, "root").uid == 0
    with pytest.raises(errors.DockerfileError, match="there is no user 'app'"):
        users.owner(bare, "app")


@pytest.mark.parametrize("number", ["²", "٣", "9" * 5000, "-1", "1_0", ""])
def test_what_is_no_number_in_an_images_files_is_no_fault_of_ours(number: str):
    passwd = f"app:x:{number}:5::/h:/bin/sh\nbob:x:5:{number}::/h:/bin/sh\n".encode()
    group = f"app:x:{number}:\nextra:x:{number}:sue\n".encode()
    shown = image(b"sue:x:6:6::/h:/bin/sh\n" + passwd, group)
    for ask in (users.owner, users.identity):
        for text in ("app", "bob", "5", "7:app", "7:5", "sue", "sue:extra"):
            with contextlib.suppress(errors.DockerfileError):
                ask(shown, text)


def test_a_user_ends_with_a_line_feed_alone():
    for end in ("\x0b", "\x0c", "\x1e", "\x85", "\u2028"):
        shown = image(f"bob:x:5:5:Bob{end}app:x:0:0:/srv/bob:/bin/sh\napp:x:7:7::/:/bin/sh\r\n".encode())
        assert users.owner(shown, "app") == (7, 7)


def test_zeros_before_a_number_are_nothing():
    assert users.owner(image(), "0" * 5000 + "77") == (77, 77)
    assert users.identity(image(), "0001000").home == "/home/app"
