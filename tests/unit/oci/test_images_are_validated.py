"""The validator that every image of the build tests goes through finds what it is there for."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from strata_builder.engine import history
from support import validate_image

Made = tuple[dict[str, Any], dict[str, Any]]


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def layer(*entries: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info in entries:
            tar.addfile(info)
    return made.getvalue()


BASE = layer(entry("d", tarfile.DIRTYPE), entry("d/old"))


def image(own: bytes, change: Callable[[dict[str, Any], dict[str, Any]], object] = lambda _m, _c: None) -> list[str]:
    """The problems of an image with the layers BASE and `own`, once `change` has changed manifest and config."""
    layers = [BASE, own]
    config: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(content) for content in layers]},
        "history": [{"created_by": "base"}, {"created_by": "COPY", "comment": history.COMMENT}],
    }
    family = "application/vnd.oci.image"
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": f"{family}.manifest.v1+json",
        "config": {"mediaType": f"{family}.config.v1+json"},
        "layers": [
            {"mediaType": f"{family}.layer.v1.tar", "digest": digest(content), "size": len(content)}
            for content in layers
        ],
    }
    change(manifest, config)
    text = json.dumps(config).encode()
    manifest["config"] |= {"digest": digest(text), "size": len(text)}
    whole = json.dumps(manifest).encode()
    return validate_image.problems({digest(blob): blob for blob in (*layers, text, whole)}, digest(whole))


def test_an_image_as_it_should_be_has_no_problem():
    own = layer(
        entry("d", tarfile.DIRTYPE),
        entry("d/.wh.old"),
        entry("d/new"),
        entry("d/same", tarfile.LNKTYPE, linkname="d/new"),
    )
    assert image(own) == []


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("f"), entry("f")], "twice"),
        ([entry("./f")], "no plain relative path"),
        ([entry("/f")], "no plain relative path"),
        ([entry("new/f")], "before its parent"),
        ([entry("f"), entry("f/g")], "no directory"),
        ([entry("f", uname="ada")], "names its owner"),
        ([entry("h", tarfile.LNKTYPE, linkname="f"), entry("f")], "not come yet"),
        ([entry("d", tarfile.DIRTYPE), entry("d/.wh..wh..opq")], "opaque"),
        ([entry("d", tarfile.DIRTYPE), entry("d/.wh.never")], "not there below"),
        ([entry("f", mtime=1, pax_headers={"atime": "1"})], "record"),
        ([entry("f", mtime=1, pax_headers={"mtime": "1"})], "record"),
    ],
)
def test_an_untidy_layer_of_strata_is_found(entries, said):
    (problem,) = image(layer(*entries))
    assert problem.startswith("layer 1: ")
    assert said in problem


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m, _c: m.update(schemaVersion=1), "schemaVersion"),
        (lambda m, _c: m["layers"][1].update(size=1), "the size is not 1"),
        (lambda m, _c: m["layers"][1].update(mediaType="application/vnd.docker.image.rootfs.diff.tar"), "family"),
        (lambda m, _c: m["layers"][1].pop("digest") and m["layers"].pop(), "history has 2 entries"),
        (lambda _m, c: c["rootfs"]["diff_ids"].reverse(), "diff_ids"),
        (lambda _m, c: c["rootfs"].update(diff_ids=None), "diff_ids"),
        (lambda _m, c: c["history"].pop(), "history has 1 entries"),
        (lambda _m, c: c["history"][0].update(created="yesterday"), "created"),
        (lambda _m, c: c.update(config={"Env": ["A"]}), "Env"),
        (lambda _m, c: c.update(config={"WorkingDir": "w"}), "WorkingDir"),
        (lambda _m, c: c.pop("os"), "'os' is a required"),
    ],
)
def test_what_the_specification_does_not_allow_is_found(change, said):
    problems = image(layer(entry("f")), change)
    assert any(said in problem for problem in problems), problems
