"""What a build asks registries for, against servers that lie."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from random import Random
from typing import Any, Final

from fuzz import answers, mutation
from fuzz.answers import Answers
from fuzz.target import Target, said
from strata_builder import errors
from strata_builder.engine import artifact
from strata_builder.oci.image import Descriptor
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from strata_builder.registry import connect, pull, push, retry
from strata_builder.registry.client import Registry
from strata_builder.registry.config import Credential
from strata_builder.registry.registries import Registries, Settings
from support.liar import Liar

_SECRET: Final = "s3cret"
_LOGIN: Final = Credential("alice", _SECRET)
_HIDDEN: Final = (_SECRET.encode(), base64.b64encode(f"alice:{_SECRET}".encode()))
_REPO: Final = "a/b"
_BLOB: Final = Descriptor(
    "application/vnd.oci.image.layer.v1.tar+gzip", answers.digest(answers.BLOB), len(answers.BLOB)
)
_MOST: Final = 1200  # requests for one operation: a list may have a thousand pages


def _blob(registry: Registry) -> None:
    assert registry.blob_bytes(_REPO, _BLOB, limit=1 << 20) == answers.BLOB


def _manifest(registry: Registry) -> None:
    found = registry.manifest(_REPO, answers.digest(answers.MANIFEST))
    assert found.data == answers.MANIFEST


def _upload(registry: Registry) -> None:
    registry.upload_blob(_REPO, _BLOB, lambda: io.BytesIO(answers.BLOB), mount_from="a/c")


def _resolve(registry: Registry) -> None:
    """By way of an index to the config, as for the base image of a build."""
    settings = Settings(insecure=(registry.host,), policy=_POLICY, timeouts=_TIMEOUTS)
    with Registries(settings) as registries:
        found = pull.resolve_image(Reference.parse(f"{registry.host}/a/b:1"), Platform.parse("linux/amd64"), registries)
        assert answers.digest(found.manifest_bytes) == found.manifest_digest


_OPERATIONS: Final[dict[str, Callable[[Registry], Any]]] = {
    "ping": Registry.ping,
    "head": lambda registry: registry.head_manifest(_REPO, "1"),
    "manifest": _manifest,
    "tag": lambda registry: registry.manifest(_REPO, "1"),
    "blob": _blob,
    "exists": lambda registry: registry.has_blob(_REPO, _BLOB.digest, _BLOB.size),
    "tags": lambda registry: list(registry.tags(_REPO)),
    "referrers": lambda registry: registry.referrers(_REPO, _BLOB.digest, artifact_type="a/b"),
    "upload": _upload,
    "put": lambda registry: push.put(
        registry, _REPO, "1", answers.MANIFEST, "application/vnd.oci.image.manifest.v1+json"
    ),
    "delete": lambda registry: registry.delete_manifest(_REPO, "1"),
    "cache": lambda registry: artifact.read(registry, _REPO, "cache-linux-amd64"),
    "resolve": _resolve,
}
_POLICY: Final = retry.Policy(attempts=3, sleep=lambda _: None)
_TIMEOUTS: Final = connect.Timeouts(connect=2, read=2)


class Client:
    """One operation a run; its number and all answers follow from the bytes, in their order."""

    @functools.cached_property
    def _liar(self) -> Liar:
        return Liar().__enter__()

    @functools.cached_property
    def _stranger(self) -> Liar:
        return Liar().__enter__()

    def run(self, data: bytes) -> None:
        rng = mutation.Chosen(data)
        made = Answers(rng, self._liar.host, self._stranger.host)
        self._liar.begin(made.registry)
        self._stranger.begin(made.elsewhere)
        name = rng.choice(sorted(_OPERATIONS))
        try:
            self._ask(name)
            self._check()
        except Exception as error:
            error.add_note(f"{name}:\n" + "\n".join(made.shown[-12:]))
            raise

    def _ask(self, name: str) -> None:
        login = None if name == "resolve" else _LOGIN
        registry = Registry(self._liar.host, credentials=login, insecure=True, policy=_POLICY, timeouts=_TIMEOUTS)
        try:
            _OPERATIONS[name](registry)
        except errors.BuildError as error:
            said(error, _SECRET)
        finally:
            registry.close()

    def _check(self) -> None:
        assert len(self._liar.asked) + len(self._stranger.asked) < _MOST
        for asked in self._stranger.asked:
            assert b"\r\nauthorization:" not in asked.head.lower(), asked.head
            assert not any(hidden in asked.head + asked.body for hidden in _HIDDEN), asked.head


def _anew(rng: Random, data: bytes, _: mutation.Pieces) -> bytes:
    """Other choices from some point on, or throughout."""
    return data[: rng.randrange(len(data) + 1) // 4 * 4] + rng.randbytes(rng.choice((4, 8, 40)))


#: Its servers live as long as the process.
TARGET: Final = Target(
    "answers of registries",
    Client().run,
    tuple(Random(number).randbytes(200) for number in range(30)),
    runs=400,
    change=_anew,
    stretched=0,
)
