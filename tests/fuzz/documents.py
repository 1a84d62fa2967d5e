"""JSON and headers from registries, pods and Secrets."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from fuzz import mutation
from fuzz.target import Target, said
from strata_builder import contract, errors, termination
from strata_builder.engine import records
from strata_builder.oci import config, fields, manifest, strictjson
from strata_builder.oci import errors as oci_errors
from strata_builder.oci.platform import Platform
from strata_builder.pod import planfile, wire
from strata_builder.registry import addresses, auth, challenges, links, retry
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.config import DockerConfig
from support import dockerfile_images

_DIGEST: Final = "sha256:" + "0" * 64
_KEY: Final = "a" * 64
_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"


def manifests(data: bytes) -> None:
    """A manifest or index, which is written so that it reads the same."""
    try:
        found = manifest.parse(data)
        if isinstance(found, manifest.Index):
            found.select(Platform.parse("linux/amd64"))
    except errors.BuildError as error:
        said(error)
        return
    assert manifest.parse(found.to_bytes()) == found


def configs(data: bytes) -> None:
    try:
        found = config.ImageConfig.from_bytes(data)
    except oci_errors.ImageInvalid as error:
        said(error)
        return
    assert config.ImageConfig.from_bytes(found.to_bytes()) == found
    added = found.append_history(config.History(created_by="x"), _DIGEST)
    assert added.diff_ids == (*found.diff_ids, _DIGEST)
    assert added.with_(env=["A=b"], cmd=None).env == ("A=b",)


def results(data: bytes) -> None:
    """What a container says at its end: what is accepted can be stored by the API server and be said again."""
    try:
        found = contract.decode_result(data.decode("utf-8", "replace"))
    except contract.ContractError as error:
        said(error)
        return
    text = contract.encode(found)
    text.encode()
    assert contract.decode_result(text) == found
    _whole_numbers(json.loads(text))


def _whole_numbers(value: object) -> None:
    """Of 64 bits: the API server takes no larger ones."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _whole_numbers(each)
    assert not isinstance(value, int) or -(2**63) <= value < 2**63


def requests(data: bytes) -> None:
    try:
        found = contract.decode_request(data.decode("utf-8", "replace"))
    except contract.ContractError as error:
        said(error)
        return
    assert contract.decode_request(contract.encode(found)) == found


def endings(data: bytes) -> None:
    """What a container says at its end fits into what the kubelet keeps, and is understood, whatever it quotes."""
    text = data.decode("utf-8", "surrogateescape")
    name, _, rest = text.partition("\n")
    failure = contract.Failure("RunFailed", text, file=name, line=3, hint=rest)
    steps = (contract.Step(3, name, cached=False, reason=rest),) * (len(data) % 99)
    bases = (contract.BaseImage(name, _DIGEST),) * (len(data) % 77)
    source = contract.SourceResult(name, "0" * 40, text, rest)
    done = contract.BuildResult((contract.PlatformResult("linux/amd64", _DIGEST, 9),), source, bases, steps=steps)
    said_failure, said_result = (_kept(termination.message(value)) for value in (failure, done))
    assert isinstance(said_failure, contract.Failure)
    assert (said_failure.reason, said_failure.line) == ("RunFailed", 3)
    assert isinstance(said_result, contract.BuildResult)
    assert said_result.platforms == done.platforms


def _kept(text: str) -> contract.BuildResult | contract.Failure:
    written = text.encode("utf-8", "replace")
    assert len(written) <= termination.LIMIT
    return contract.decode_result(written.decode())


def steps(data: bytes) -> None:
    """What the container of the steps tells the one that pushes."""
    for read in (planfile.Result.from_bytes, planfile.Made.from_bytes):
        try:
            found = read(data, frozenset({_KEY}))
        except wire.WireError as error:
            said(error)
        else:
            assert read(found.to_bytes(), frozenset({_KEY})) == found


def cached(data: bytes) -> None:
    try:
        found = records.Records.from_bytes(data)
    except errors.LayerError as error:
        said(error)
        return
    assert records.Records.from_bytes(found.to_bytes()) == found
    found.trimmed(today=20_000, max_age=14, max_size=1 << 30).to_bytes()


def logins(data: bytes) -> None:
    """Credentials that are accepted can be sent; what is refused is refused without a word of them."""
    try:
        found = DockerConfig.load([data])
    except registry_errors.CredentialsInvalid as error:
        said(error, *([] if _names_a_helper(data) else ["s3cret"]))
        return
    assert "s3cret" not in repr(replace(found, helpers=(), store=""))
    for host in ("reg.example:5000", "docker.io", "a.b"):
        if login := found.lookup(host, "x/y"):
            auth.basic(login)


def _names_a_helper(data: bytes) -> bool:
    """Whether what else is a password stands where the name of a program belongs, which is shown."""
    try:
        document = json.loads(data)
        return "s3cret" in json.dumps([document.get("credHelpers"), document.get("credsStore")])
    except (ValueError, RecursionError, AttributeError):
        return False


def headers(data: bytes) -> None:
    """Challenges, waits and Locations, one a line."""
    for line in data.decode("latin-1").split("\n"):
        for challenge in challenges.parse([line]):
            assert challenge.scheme == challenge.scheme.lower()
        assert len(links.following([line])) <= len(line)
        wait = retry.parse_retry_after(line)
        assert wait is None or wait >= 0
        try:
            found = addresses.resolve("https://host/v2/x", line)
        except registry_errors.ProtocolError as error:
            said(error)
        else:
            assert addresses.Origin.of(found).netloc


def refusals(data: bytes) -> None:
    """The body of an error: something short and printable, whatever it is."""
    for status in (400, 404, 503):
        error = registry_errors.of_answer("PUT", status, data, host="h", repository="r", url="u", doing="push")
        said(error)
        assert str(error).replace("\n", "").isprintable()
        assert all(len(digest) < 100 for digest in error.digests)


def plain(data: bytes) -> None:
    try:
        found = strictjson.loads(data, limit=1 << 20, what="x")
    except oci_errors.ImageInvalid as error:
        said(error)
        return
    assert strictjson.loads(strictjson.dumps(found), limit=1 << 22, what="x") == found
    assert fields.mapping({"x": found}, "x", "x") == found


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


_DESCRIPTOR: Final = {
    "mediaType": _TYPE,
    "digest": _DIGEST,
    "size": 9,
    "annotations": {"a": "b"},
    "urls": ["https://x"],
}
_PLATFORM: Final = {"os": "linux", "architecture": "arm", "variant": "v7"}
_MANIFESTS: Final = (
    _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _DESCRIPTOR | {"mediaType": "application/vnd.oci.image.config.v1+json"},
            "layers": [_DESCRIPTOR, _DESCRIPTOR],
            "annotations": {"k": "v"},
            "subject": _DESCRIPTOR,
            "artifactType": "a/b",
        }
    ),
    _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                _DESCRIPTOR | {"mediaType": "application/vnd.oci.image.manifest.v1+json", "platform": _PLATFORM},
                _DESCRIPTOR | {"platform": {"os": "unknown", "architecture": "unknown"}},
            ],
        }
    ),
)
_HISTORY: Final = [{"created": "2020-01-01T00:00:00Z", "created_by": "x", "empty_layer": True}, {"comment": "c"}]
_CONFIGS: Final = tuple(
    _json(json.loads(text) | {"history": _HISTORY, "rootfs": {"type": "layers", "diff_ids": [_DIGEST]}, "created": "x"})
    for text in dockerfile_images.ALL.values()
)
_STEP: Final = contract.Step(3, "RUN x", cached=False, reason="r", seconds=1.5, size=9)
_RESULTS: Final = (
    contract.encode(
        contract.BuildResult(
            (contract.PlatformResult("linux/amd64", _DIGEST, 9),),
            contract.SourceResult("main", "0" * 40, "m", "a", 5),
            (contract.BaseImage("x", _DIGEST),),
            contract.Metrics(1.5, 2.5, 3.5, 1, 2, 3, 4, 5, 6),
            (_STEP,),
            1.5,
        )
    ).encode(),
    contract.encode(contract.Failure("RunFailed", "m", True, "Dockerfile", 3, 4, "h")).encode(),
)
_REQUEST: Final = contract.encode(
    contract.BuildRequest(
        contract.BuildId("n", "x", "u", 1, 1, 1, "i"),
        contract.Output("h:5000", "a/b"),
        source=contract.Source(contract.GitSource("https://h/x.git", "main")),
        args=(("A", "b"),),
        mirrors=(contract.Mirror("docker.io", "http://m"),),
        source_date_epoch=5,
    )
).encode()
_LAYER: Final = planfile.Layer(_TYPE, _DIGEST, 9, _DIGEST)
_MADE: Final = planfile.Made(_KEY, _LAYER)
_STEPS: Final = (_MADE.to_bytes(), planfile.Result((_MADE,), (_STEP,), 1.5, 9).to_bytes())
_RECORDS: Final = _json(
    {
        "v": 1,
        "steps": {_KEY: {"used": 19_990, "layer": _DESCRIPTOR, "diffID": _DIGEST}, "b" * 64: {"used": 2}},
        "remotes": {_KEY: {"name": "f", "size": 5, "digest": _KEY, "mtime": 9, "etag": '"v1"', "at": "b" * 64}},
        "builds": {"u/1/1/linux/amd64": _DIGEST},
    }
)
_LOGINS: Final = _json(
    {
        "auths": {
            "reg.example:5000": {"auth": "dTpzM2NyZXQ="},
            "https://index.docker.io/v1/": {"username": "a", "password": "s3cret"},
            "*.b/x": {"identitytoken": "s3cret"},
        },
        "credHelpers": {"gcr.io": "gcr"},
        "credsStore": "desktop",
    }
)
_ERRORS: Final = _json(
    {"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "m", "detail": {"digest": _DIGEST}}, {"code": "DENIED"}]}
)
_NUMBERS: Final = (
    b'"',
    b"\\",
    b"1e999",
    b"9" * 400,
    b"\\ud800",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"null",
    b"\xff",
    b"NaN",
)

TARGETS: Final = (
    Target("manifests and indexes", manifests, _MANIFESTS, _NUMBERS, change=mutation.json_changed, stretched=256 << 10),
    Target("image configs", configs, _CONFIGS, _NUMBERS, change=mutation.json_changed, stretched=256 << 10),
    Target("results of pods", results, _RESULTS, _NUMBERS, runs=2000, change=mutation.json_changed),
    Target("requests to pods", requests, (_REQUEST,), _NUMBERS, change=mutation.json_changed),
    Target(
        "termination messages",
        endings,
        (b"Dockerfile\nno such file", b"x\n" + b"\xff\0" * 900, "é\n".encode() * 999),
        (b"\n", b"\0", b"\x1b", b"\xff", b'"', b"\\", "\U0001f600".encode(), b"x" * 3000),
        runs=60,
    ),
    Target("steps told to push", steps, _STEPS, _NUMBERS, change=mutation.json_changed),
    Target("cache records", cached, (_RECORDS,), _NUMBERS, change=mutation.json_changed),
    Target("docker logins", logins, (_LOGINS,), (*_NUMBERS, b"*"), change=mutation.json_changed),
    Target("errors of registries", refusals, (_ERRORS, b"<html>", b"plain text"), _NUMBERS, change=mutation.json_changed),
    Target("strict JSON", plain, (*_MANIFESTS, *_CONFIGS), _NUMBERS, once=(b'"' + b'\\"' * 300_000,), stretched=256 << 10),
    Target(
        "headers of registries",
        headers,
        (
            b'Bearer realm="https://a/token",service="s",scope="repository:x:pull"\nBasic realm="x", Bearer realm=y',
            b"120\nWed, 21 Oct 2015 07:28:00 GMT\n/v2/x?_state=abc%3D\nhttps://other:5000/x#y\n//h/x",
        ),
        (b'"', b"\\", b"=", b",", b"Basic ", b"Bearer ", b"realm=", b"http://", b"//", b"[", b"]", b":", b"@", b"%", b"GMT",
         b"9" * 30, b"<", b">", b";", b"rel=next", b"-", b"?", b"#", b" ", b"\xa0", b"Jan ", b"+9999"),
        runs=2000,
    ),
)  # fmt: skip
