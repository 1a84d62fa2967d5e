"""Logs in a real registry: what is kept, what it costs on disk, and what happens to what is damaged."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import pytest

from strata_builder import errors
from strata_builder.buildlog import artifact
from strata_builder.oci import mediatypes
from strata_builder.oci.image import Manifest, describe
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.client import Registry
from support import pods, registry_process
from support.registry_requests import counted

BINARY = registry_process.find_binary()
pytestmark = pytest.mark.skipif(BINARY is None, reason="no registry binary; `make cluster-up` builds one")
REPOSITORY, TAG = "team/web", "cache-log-0123456789"


@pytest.fixture
def server() -> Iterator[registry_process.RegistryProcess]:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY) as process:
        yield process


@pytest.fixture
def client(server: registry_process.RegistryProcess) -> Iterator[Registry]:
    made = Registry(server.host, insecure=True)
    yield made
    made.close()


def add(client: Registry, number: int, lines: list[str], keep: range | tuple[int, ...] = ()) -> artifact.Entry:
    data = artifact.pack(lines)
    entry = artifact.made(number, 1, "Failed", "2026-11-29T10:00:00Z", data)
    artifact.add(client, REPOSITORY, TAG, entry, data, keep=keep, imagebuild="team/web")
    return entry


def numbers(client: Registry) -> list[int]:
    return [entry.number for entry in artifact.entries(client, REPOSITORY, TAG)]


def noise(number: int, size: int) -> list[str]:
    """Lines that do not get smaller."""
    return [random.Random(number).randbytes(size // 2).hex()]


def stored(server: registry_process.RegistryProcess) -> int:
    return sum(path.stat().st_size for path in (server.storage / "blobs").rglob("data"))


def test_the_registry_holds_no_more_than_the_builds_that_are_told_of(
    server: registry_process.RegistryProcess, client: Registry
) -> None:
    """Its collection runs as it does by default: what has no tag, and was not deleted, would stay."""
    size = 200 << 10
    for number in range(1, 31):
        add(client, number, noise(number, size), keep=range(number - 9, number))
    assert numbers(client) == list(range(30, 20, -1))
    before = stored(server)
    server.collect_garbage()
    server.restart()
    assert before > 28 * size // 2
    assert stored(server) < 11 * size
    for entry in artifact.entries(client, REPOSITORY, TAG):
        assert artifact.lines(client, REPOSITORY, entry) == noise(entry.number, size)
    assert list(client.tags(REPOSITORY)) == [TAG]


def test_a_log_that_the_registry_has_lost_does_not_keep_a_new_one_out(
    server: registry_process.RegistryProcess, client: Registry
) -> None:
    entries = [add(client, number, [f"build {number}"], keep=range(5)) for number in range(1, 4)]
    pods.lose(server, entries[1].blob.digest)
    add(client, 4, ["build 4"], keep=range(5))
    assert numbers(client) == [4, 3, 1]


@pytest.mark.parametrize("config", ["application/vnd.oci.image.config.v1+json", "application/vnd.somebody.else+json"])
def test_another_artifact_under_the_tag_is_told_and_makes_way(client: Registry, config: str) -> None:
    blob = describe(b"{}", config)
    client.upload_blob(REPOSITORY, blob, lambda: io.BytesIO(b"{}"))
    other = Manifest(blob, (), mediatypes.OCI_MANIFEST)
    client.put_manifest(REPOSITORY, TAG, other.to_bytes(), other.media_type)
    with pytest.raises(errors.LayerError, match="holds no logs"):
        artifact.entries(client, REPOSITORY, TAG)
    add(client, 1, ["one"])
    assert numbers(client) == [1]


def test_a_repository_without_logs_is_not_found(client: Registry) -> None:
    with pytest.raises(registry_errors.NotFound):
        artifact.entries(client, REPOSITORY, TAG)


def test_a_log_whose_bytes_were_changed_is_refused(server: registry_process.RegistryProcess, client: Registry) -> None:
    entry = add(client, 1, ["one"])
    name = entry.blob.digest.removeprefix("sha256:")
    (server.storage / "blobs/sha256" / name[:2] / name / "data").write_bytes(b"x" * entry.blob.size)
    server.restart()
    with pytest.raises(errors.BuildError, match="digest"):
        artifact.lines(client, REPOSITORY, entry)


def test_a_further_build_asks_five_things(server: registry_process.RegistryProcess, client: Registry) -> None:
    """The list of logs, the upload in two, the new list, and the end of the former one."""
    add(client, 1, ["one"])
    with counted(server) as asked:
        add(client, 2, ["two"], keep=(1,))
    assert [request.method for request in asked.found] == ["GET", "POST", "PUT", "PUT", "DELETE"]
