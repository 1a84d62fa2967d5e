"""What a file fetched by URL is called, and its time."""

from __future__ import annotations

import pytest

from strata_builder import errors
from strata_builder.context import download, headers

NAMES = [
    ("https://h/a/b.tar.gz", "", "", "b.tar.gz"),
    ("https://h/a/b%20c?x=/y#z", "", "", "b c"),
    ("https://h/a/b", 'attachment; filename="other"', "", "b"),
    ("https://h/latest/", 'attachment; filename="x.deb"', "", "latest"),
    ("https://h?x", 'attachment; filename="x.deb"', "", "x.deb"),
    ("https://h/", "attachment; filename*=UTF-8''na%C3%AFve.txt; filename=plain", "", "naïve.txt"),
    ("https://h/", 'attachment; filename="../../etc/passwd"', "", "passwd"),
    ("https://h/", 'attachment; filename="C:\\\\x\\\\y.exe"', "", "y.exe"),
    ("https://h/", "attachment; filename=..", "https://cdn/real.bin", "real.bin"),
    ("https://h/a/..", "", "https://cdn/x", "x"),
    ("https://h/", "attachment; filename*; filename*0", "https://cdn/x", "x"),
    ("https://h/", "attachment; filename*=\0''y", "https://cdn/x", "x"),
    ("https://h/", "attachment; filename*=idna''a..b", "https://cdn/x", "x"),
    ("https://h/", "attachment; filename*=unicode_escape''%5Cud800", "https://cdn/x", "x"),
    ("https://h/", "attachment; filename*=no-such-set''y", "https://cdn/x", "y"),
    ("https://h/a%2Fb", "", "", "b"),
    ("https://h/", "", "//]]/x", headers.UNNAMED),
]


@pytest.mark.parametrize(("address", "disposition", "final", "name"), NAMES)
def test_the_name_of_a_file(address: str, disposition: str, final: str, name: str) -> None:
    assert headers.file_name(address, disposition, final) == name


def test_a_url_without_a_name_gives_none() -> None:
    assert headers.file_name("https://h/?secret=1") == headers.UNNAMED


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1445412480),
        ("", 0),
        ("yesterday", 0),
        ("Wed, 21 Oct 1900 07:28:00 GMT", 0),
        ("Wed, 99 Oct 2015 99:28:00 GMT", 0),
    ],
)
def test_the_time_of_a_file(header: str, seconds: int) -> None:
    assert headers.parse_time(header) == seconds


@pytest.mark.parametrize(
    "text", ["", "ftp://h/x", "file:///etc/passwd", "https://", "http://h:x/", "https://h/a b", "//h/x"]
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidSpec, match="is not an http or https URL"):
        download.check_url(text)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(errors.InvalidSpec, match="do not belong into a URL") as caught:
        download.check_url("https://ada:s3cret@h/x")
    assert "s3cret" not in str(caught.value)
