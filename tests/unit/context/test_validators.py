"""When a file by URL counts as unchanged: never on a word that two contents may share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from strata_builder.context import validators
from strata_builder.context.validators import Stored

URL = "https://host/a/f?token=s3cret"
STORED = Stored("f", 5, "a" * 64, "b" * 64, 1445412480, '"v1"', validators.place(URL))


@dataclass
class Said:
    status: int = 304
    url: str = URL
    headers: dict[str, str] = field(default_factory=dict)

    def header(self, name: str, default: str = "") -> str:
        return self.headers.get(name, default)


SAME = {
    "a bare 304": Said(),
    "the same tag": Said(headers={"etag": '"v1"'}),
    "the same time": Said(headers={"last-modified": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "the same place, signed anew": Said(url="https://host/a/f?token=0ther"),
    "its port written out": Said(url="https://host:443/a/f"),
}
OTHER = {
    "a whole answer": Said(status=200, headers={"etag": '"v1"'}),
    "another tag": Said(headers={"etag": '"v2"'}),
    "the tag made weak": Said(headers={"etag": 'W/"v1"'}),
    "a later time": Said(headers={"last-modified": "Wed, 21 Oct 2015 07:28:01 GMT"}),
    "an earlier time": Said(headers={"last-modified": "Wed, 21 Oct 2015 07:27:59 GMT"}),
    "a time that is none": Said(headers={"last-modified": "yesterday"}),
    "another path": Said(url="https://host/a/g"),
    "another host": Said(url="https://other/a/f"),
    "another port": Said(url="https://host:8443/a/f"),
    "another scheme": Said(url="http://host/a/f"),
}


@pytest.mark.parametrize("name", SAME)
def test_a_304_about_the_same_version_at_the_same_place_confirms(name: str) -> None:
    assert validators.confirms(SAME[name], STORED)


@pytest.mark.parametrize("name", OTHER)
def test_whatever_else_is_said_does_not(name: str) -> None:
    assert not validators.confirms(OTHER[name], STORED)


def test_without_a_record_nothing_is_asked_and_nothing_confirmed() -> None:
    assert validators.conditions(None) == ()
    assert not validators.confirms(Said(), None)


@pytest.mark.parametrize(
    ("etag", "kept"),
    [('"v1"', '"v1"'), ('"5f-a,b"', '"5f-a,b"'), ('W/"v1"', ""), ("v1", ""), ('""', ""), ('"a"b"', ""), ('"a\r\nX: y"', ""),
     ('"é"', ""), ('"' + "a" * 201 + '"', ""), ("*", ""), ("", "")],
)  # fmt: skip
def test_only_a_strong_tag_is_kept(etag: str, kept: str) -> None:
    assert validators.strong(etag) == kept
    assert validators.conditions(replace(STORED, etag=kept)) == ((("If-None-Match", kept),) if kept else ())


def test_what_is_kept_of_a_url_does_not_tell_its_query() -> None:
    assert "s3cret" not in f"{validators.url_id(URL)}{validators.place(URL)}{STORED}"
    assert validators.url_id(URL) != validators.url_id(URL.replace("s3cret", "0ther"))


@pytest.mark.parametrize(
    "wrong",
    [{"name": "../x"}, {"name": ".."}, {"name": ""}, {"name": "a\nb"}, {"name": "x" * 256}, {"size": -1}, {"mtime": -1},
     {"mtime": 1 << 40}, {"sha256": "x"}, {"content": "A" * 64}, {"etag": 'W/"v"'}, {"etag": '"a"\r\nX: y'}, {"at": "/"}],
)  # fmt: skip
def test_a_record_that_no_server_can_have_caused_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not what a server says"):
        replace(STORED, **wrong)  # type: ignore[arg-type]
