"""Whether an image is as the image specification wants it, and as tidy as its users may expect: by its own reading.

Manifest and config against schemas, blobs against digests and sizes, history against layers and diffIDs; for the layers
that Strata wrote also what no schema asks: each name once, parents before children, links to files that came earlier,
whiteouts only of what is there below, numeric owners alone, no record that a plain header could have held.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jsonschema

from strata_builder.engine import history

_DIGEST: Final = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_STRINGS: Final = {"type": "array", "items": {"type": "string"}}
_SET: Final = {"type": "object", "additionalProperties": {"type": "object"}}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_TIME: Final = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}


def _object(required: Sequence[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


_DESCRIPTOR: Final = _object(
    ("mediaType", "digest", "size"),
    mediaType={"type": "string", "pattern": "^[a-z0-9.+-]+/[a-z0-9.+-]+$"},
    digest=_DIGEST,
    size={"type": "integer", "minimum": 0},
    annotations=_TEXTS,
)
#: image-spec, manifest.md and its schema/image-manifest-schema.json.
MANIFEST: Final = _object(
    ("schemaVersion", "mediaType", "config", "layers"),
    schemaVersion={"const": 2},
    mediaType={"type": "string"},
    config=_DESCRIPTOR,
    layers={"type": "array", "items": _DESCRIPTOR},
    annotations=_TEXTS,
)
#: image-spec, config.md and its schema/config-schema.json.
CONFIG: Final = _object(
    ("architecture", "os", "rootfs"),
    created=_TIME,
    architecture={"type": "string", "minLength": 1},
    os={"type": "string", "minLength": 1},
    variant={"type": "string", "minLength": 1},
    config=_object(
        (),
        User={"type": "string"},
        ExposedPorts=_SET,
        Env={"type": "array", "items": {"type": "string", "pattern": "(?s)^[^=]+=.*$"}},
        Entrypoint={"oneOf": [_STRINGS, {"type": "null"}]},
        Cmd={"oneOf": [_STRINGS, {"type": "null"}]},
        Volumes=_SET,
        WorkingDir={"type": "string", "pattern": "^(/|$)"},
        Labels=_TEXTS,
        StopSignal={"type": "string"},
        Shell=_STRINGS,
        OnBuild=_STRINGS,
    ),
    rootfs=_object(("type", "diff_ids"), type={"const": "layers"}, diff_ids={"type": "array", "items": _DIGEST}),
    history={
        "type": "array",
        "items": _object(
            (),
            created=_TIME,
            created_by={"type": "string"},
            comment={"type": "string"},
            empty_layer={"type": "boolean"},
        ),
    },
)


def problems(blobs: Mapping[str, bytes], manifest_digest: str) -> list[str]:
    """What is wrong with an image; `blobs` has the content of each digest."""
    found = [f"{digest}: the content is another one" for digest, content in blobs.items() if _digest(content) != digest]
    manifest = json.loads(blobs[manifest_digest])
    config = json.loads(blobs[manifest["config"]["digest"]])
    found += _of_schema("manifest", manifest, MANIFEST) + _of_schema("config", config, CONFIG)
    for descriptor in [manifest["config"], *manifest["layers"]]:
        if len(blobs[descriptor["digest"]]) != descriptor["size"]:
            found.append(f"{descriptor['digest']}: the size is not {descriptor['size']}")
    contents = [_unpacked(blobs[layer["digest"]]) for layer in manifest["layers"]]
    return found + _of_layers(config, contents) + _of_media_types(manifest)


def _of_schema(what: str, value: Any, schema: Mapping[str, Any]) -> list[str]:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(value)
    return [f"{what} {error.json_path}: {error.message}" for error in errors]


def _of_media_types(manifest: Mapping[str, Any]) -> list[str]:
    """One family throughout: a registry or a runtime may refuse a mixture."""
    docker = "docker" in manifest["mediaType"]
    parts = [manifest["config"], *manifest["layers"]]
    return [
        f"media type {p['mediaType']} is of another family" for p in parts if ("docker" in p["mediaType"]) != docker
    ]


def _of_layers(config: Mapping[str, Any], contents: Sequence[bytes]) -> list[str]:
    diff_ids = config["rootfs"]["diff_ids"]
    found = [] if diff_ids == [_digest(content) for content in contents] else ["diff_ids are not those of the layers"]
    entries = [entry for entry in config.get("history", ()) if not entry.get("empty_layer")]
    if entries and len(entries) != len(contents):
        return [*found, f"history has {len(entries)} entries with a layer, and there are {len(contents)} layers"]
    shown: set[str] = set()
    for number, content in enumerate(contents):
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            members = tar.getmembers()
        if entries and entries[number].get("comment") == history.COMMENT:
            found += [f"layer {number}: {problem}" for problem in tidiness(members, shown)]
        _lay_over(shown, members)
    return found


def tidiness(members: Sequence[tarfile.TarInfo], below: set[str]) -> list[str]:
    """What is untidy in a layer of Strata's own; `below`: the paths that the layers under it show."""
    found: list[str] = []
    seen: dict[str, tarfile.TarInfo] = {}
    for member in members:
        found += [f"{member.name!r} {problem}" for problem in _of_member(member, seen, below)]
        seen[_path(member)] = member
    return found


def _of_member(member: tarfile.TarInfo, seen: Mapping[str, tarfile.TarInfo], below: set[str]) -> list[str]:
    path, (folder, _, name) = _path(member), _path(member).rpartition("/")
    checks = {
        "is there twice": path in seen,
        "is no plain relative path": member.name.startswith(("/", "./")) or ".." in path.split("/"),
        "comes before its parent, or without": bool(folder) and folder not in seen,
        "is below what is no directory": bool(folder) and folder in seen and not seen[folder].isdir(),
        "names its owner": bool(member.uname or member.gname),
        "links to what has not come yet": member.islnk() and not _is_file(seen.get(member.linkname)),
        "marks its directory opaque": name == ".wh..wh..opq",
        "hides what is not there below": _is_whiteout(name) and _hidden(path) not in below,
        "has a record that its header could hold": bool(set(member.pax_headers) & _spare(member)),
    }
    return [problem for problem, wrong in checks.items() if wrong]


def _is_whiteout(name: str) -> bool:
    return name.startswith(".wh.") and name != ".wh..wh..opq"


def _spare(member: tarfile.TarInfo) -> set[str]:
    """PAX records for which this entry has no need."""
    spare = set()
    if member.size < 8 * 1024**3:
        spare.add("size")
    spare |= {name for name in ("uid", "gid") if getattr(member, name) < 8**7}
    if member.mtime == int(member.mtime) and 0 <= member.mtime < 8**11:
        spare.add("mtime")
    return spare | {"atime", "ctime", "uname", "gname"}


def _is_file(member: tarfile.TarInfo | None) -> bool:
    return member is not None and not member.isdir()


def _lay_over(shown: set[str], members: Sequence[tarfile.TarInfo]) -> None:
    for member in members:
        path = _path(member)
        if "/.wh..wh..opq" in f"/{path}":
            _forget(shown, path.rpartition("/")[0])
        elif "/.wh." in f"/{path}":
            _forget(shown, _hidden(path))
            shown.discard(_hidden(path))
    for member in members:
        path = _path(member)
        if not member.isdir():
            _forget(shown, path)
        if "/.wh." not in f"/{path}":
            shown.add(path)


def _forget(shown: set[str], folder: str) -> None:
    shown.difference_update([path for path in shown if path.startswith(f"{folder}/") or not folder])


def _hidden(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.removeprefix('.wh.')}".lstrip("/")


def _path(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./").removeprefix("/").rstrip("/") if member.name != "." else ""


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _unpacked(content: bytes) -> bytes:
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
