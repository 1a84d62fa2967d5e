"""Caches of --cache-from, at a registry that is none of ours."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_builder import cli
from strata_builder.engine import artifact, records
from strata_builder.oci import mediatypes
from strata_builder.oci.descriptor import describe
from strata_builder.oci.manifest import Manifest
from strata_builder.registry.client import Registry
from support.fake_registry import Answer, FakeRegistry, Seen

_WRONG = json.dumps({"v": records.VERSION, "steps": {"x": {}}}).encode()
PATIENCE = 60  # seconds; what is asked one after the other never comes together


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as found:
        yield found


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "kept"))
    (tmp_path / "context").mkdir()
    return tmp_path / "context"


def plan(context: Path, fake: FakeRegistry) -> int:
    return cli.main(["plan", "--cache-from", f"type=registry,ref={fake.host}/team/app:cache", str(context)])


def build(context: Path, fake: FakeRegistry) -> int:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    cache = f"type=registry,ref={fake.host}/team/app:cache"
    words = ["build", "--isolation", "layers", "--cache-to", cache, "--push", "-t", f"{fake.host}/team/app"]
    return cli.main([*words, str(context)])


def _only_together(fake: FakeRegistry, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets nothing be done to the tags `cache` and `latest` but to both at once."""
    both, record = threading.Barrier(2), fake.record

    def together(seen: Seen) -> None:
        if seen.method == method and re.search("/manifests/(cache|latest)", seen.path):
            both.wait(PATIENCE)
        record(seen)

    monkeypatch.setattr(fake, "record", together)


@pytest.mark.parametrize("held", [b"", b"{}", b"[" * 100_000, _WRONG])
def test_a_cache_that_is_damaged_is_not_used_and_told(
    context: Path, fake: FakeRegistry, held: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    manifest = Manifest(describe(held, artifact.MEDIA_TYPE), (), mediatypes.OCI_MANIFEST)
    fake.add_blob("team/app", held)
    fake.add_manifest("team/app", manifest.to_bytes(), manifest.media_type, "cache")
    assert plan(context, fake) == 0
    assert f"warning: the cache at {fake.host}/team/app:cache cannot be read: the cache's record is damaged" in (
        capsys.readouterr().err
    )


def test_caches_are_read_while_bases_are_looked_up(
    context: Path, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (context / "Dockerfile").write_text(f"FROM {fake.host}/team/base\nCOPY Dockerfile /\n")
    _only_together(fake, "GET", monkeypatch)
    plan(context, fake)
    assert {seen.path for seen in fake.requests("GET")} >= {
        "/v2/team/app/manifests/cache",
        "/v2/team/base/manifests/latest",
    }


def test_a_wrong_base_is_told_when_the_cache_has_been_read(
    context: Path, fake: FakeRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    (context / "Dockerfile").write_text(f"FROM {fake.host}/team/base\nCOPY Dockerfile /\n")
    assert plan(context, fake) == 1
    assert f"base image {fake.host}/team/base" in capsys.readouterr().err
    assert fake.requests("GET", "/manifests/cache")
    assert "beside" not in {thread.name for thread in threading.enumerate()}


def test_the_cache_is_written_while_the_image_is_pushed(
    context: Path, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only_together(fake, "PUT", monkeypatch)
    assert build(context, fake) == 0
    assert {"cache", "latest"} <= fake.manifests["team/app"].keys()


@pytest.mark.parametrize(("refused", "done"), [("cache", "latest"), ("latest", "cache")])
def test_what_is_refused_is_an_error_and_the_other_is_done_nevertheless(
    context: Path, fake: FakeRegistry, refused: str, done: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fault("PUT", f"/manifests/{refused}", *[Answer(403)] * 3)
    assert build(context, fake) == 1
    assert "error: " in capsys.readouterr().err
    assert done in fake.manifests["team/app"]
    assert refused not in fake.manifests["team/app"]
    assert "beside" not in {thread.name for thread in threading.enumerate()}


def test_a_cache_named_by_digest_is_that_one_whatever_the_tag_says_now(
    context: Path, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(context, fake) == 0
    with contextlib.closing(Registry(fake.host, insecure=True)) as client:
        kept = client.manifest("team/app", "cache").digest
    fake.add_manifest("team/app", b"{}", mediatypes.OCI_MANIFEST, "cache")
    monkeypatch.setenv("STRATA_CACHE_DIR", str(context.parent / "other"))
    capsys.readouterr()
    for name in (f"{fake.host}/team/app@{kept}", f"{fake.host}/team/app:cache@{kept}"):
        assert cli.main(["plan", "--cache-from", name, str(context)]) == 0
        assert "cached" in capsys.readouterr().out
