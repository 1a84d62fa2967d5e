"""What stands in for the images of other builders' test suites, and what is left out of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from differential.suites import recorded, running, stand_ins

DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "built"),
    [
        ("FROM busybox\n", "FROM busybox\n"),
        (f"FROM alpine:3.8{DIGEST} AS a\n", "FROM alpine:3.8 AS a\n"),
        (f"COPY --from=mirror.gcr.io/busybox{DIGEST} /a /b\n", "COPY --from=mirror.gcr.io/busybox /a /b\n"),
        (f"FROM example.com/alpine{DIGEST}\n", f"FROM example.com/alpine{DIGEST}\n"),
        ("# syntax=docker/dockerfile:1\nFROM alpine\n", "FROM alpine\n"),
        ("# check=skip=all\n#syntax = x\n# escape=`\nFROM alpine\n", "# check=skip=all\n# escape=`\nFROM alpine\n"),
        ("FROM alpine\n# syntax=later\n", "FROM alpine\n# syntax=later\n"),
    ],
)
def test_a_dockerfile_names_images_by_tag_and_no_other_frontend(text: str, built: str) -> None:
    assert stand_ins.dockerfile(text.encode()) == built.encode()


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    assert stand_ins.dockerfile(b"FROM alpine\nLABEL a=\xff\n") == b"FROM alpine\nLABEL a=\xff\n"


def test_images_are_found_wherever_a_text_names_them() -> None:
    text = "FROM alpine:3.8 AS a\nCOPY --from=quay.io/libpod/centos:7 / /\nFROM my-busybox\nFROM x/ubuntu\n"
    found = stand_ins.images([text]) - stand_ins.images([])
    assert found == {("alpine", "3.8"), ("quay.io/libpod/centos", "7")}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("RUN apt-get -y install curl", "downloads from the Internet"),
        ("RUN apk add --no-cache git", "downloads from the Internet"),
        ("ADD https://example.com/a /", "downloads from the Internet"),
        ("ADD http://files/a /", ""),
        ("ADD http://127.0.0.1:8080/a /", "a server of the test's own"),
        ("RUN echo install", ""),
        ("COPY install /usr/bin/apt", ""),
    ],
)
def test_what_needs_a_network_is_left_out(text: str, why: str) -> None:
    assert stand_ins.reason(f"FROM alpine\n{text}\n") == why


def test_a_recording_is_read_with_its_paths(tmp_path: Path) -> None:
    item = {
        "name": "a",
        "context": "a/context",
        "dockerfile": "a/dockerfile/D",
        "apart": True,
        "args": {"V": "1"},
        "settings": [["target", "t"]],
        "named": {"n": "a/n"},
        "fails": True,
    }
    plain = {"name": "b", "context": "b", "dockerfile": "sub/Dockerfile", "served": "b/served"}
    (tmp_path / recorded.FILE).write_text(json.dumps([item, plain]))
    first, second = recorded.read(tmp_path)
    assert (first.dockerfile, first.settings) == (tmp_path / "a/dockerfile/D", (("arg", "V=1"), ("target", "t")))
    assert (first.named, first.fails) == ({"n": tmp_path / "a/n"}, True)
    assert (second.dockerfile, second.served) == (tmp_path / "b/sub/Dockerfile", tmp_path / "b/served")
    assert (second.fails, second.needs) == (None, "")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[[left_out]]\ncases = ["a"]\n', "needs cases and why"),
        ('[[left_out]]\nwhy = "w"\ncases = ["a", "a"]\n', "twice"),
        ("[[other]]\n", "nothing else"),
        ('[[explained]]\ncase = "a"\n', "needs case, kind"),
    ],
)
def test_a_table_that_lacks_something_is_refused(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "t.toml").write_text(table)
    with pytest.raises(ValueError, match=said):
        running.tables(tmp_path / "t.toml")
