"""Layers of steps are sent while later steps run; what goes wrong meanwhile is told by who sends at the end."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.cli import early, values
from strata_builder.context.memory import MemoryTree
from strata_builder.engine import blobs, planner, records
from strata_builder.engine.options import Options
from strata_builder.oci.image import LayerRef
from strata_builder.registry import registries
from support.engine_build import AMD64, NoImages
from support.fake_registry import Answer, FakeRegistry
from support.layertrees import file, packed

LINES = b"""\
FROM scratch AS other
COPY a /
FROM scratch AS base
COPY a /
FROM base
COPY --from=other a /b
"""


@pytest.fixture(name="fake")
def _fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


@pytest.fixture(name="opened")
def _opened() -> Iterator[Any]:
    with registries.Registries(registries.Settings(loopback_insecure=True)) as found:
        yield SimpleNamespace(
            registries=found, caches=SimpleNamespace(present=defaultdict(set)), given=SimpleNamespace()
        )


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> blobs.Blobs:
    return blobs.Blobs(tmp_path / "blobs", blobs.Nowhere())


def layer(store: blobs.Blobs, name: str) -> LayerRef:
    return store.add(packed(store.folder.parent / name, [file(name, name.encode())]))


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_layer_is_there_before_the_build_has_ended(fake: FakeRegistry, opened: Any, store: blobs.Blobs) -> None:
    made = layer(store, "a")
    where = (fake.host, "some/image")
    with early.Uploads({where: {0}}, opened, store) as uploads:
        uploads.made(0, 0, records.Record(made))
        uploads.made(0, 1, records.Record(None))
        until(lambda: made.descriptor.digest in opened.caches.present[where])
    assert opened.registries.get(fake.host).has_blob("some/image", made.descriptor.digest)


def test_all_that_was_begun_is_done_at_the_end_and_only_where_it_is_wanted(
    fake: FakeRegistry, opened: Any, store: blobs.Blobs
) -> None:
    made = [layer(store, name) for name in "abcdef"]
    image, cache = (fake.host, "image"), (fake.host, "cache")
    with early.Uploads({image: {1}, cache: {0, 1}}, opened, store) as uploads:
        for number, each in enumerate(made):
            uploads.made(number % 2, number, records.Record(each))
    digests = [each.descriptor.digest for each in made]
    assert opened.caches.present[image] == {*digests[1::2]}
    assert opened.caches.present[cache] == {*digests}


def test_a_refusal_is_left_for_the_end(fake: FakeRegistry, opened: Any, store: blobs.Blobs) -> None:
    made = [layer(store, name) for name in "abc"]
    fake.fault("POST", "/refused/blobs/uploads/", *[Answer(403)] * 3)
    with early.Uploads({(fake.host, "refused"): {0}, (fake.host, "good"): {0}}, opened, store) as uploads:
        for each in made:
            uploads.made(0, 0, records.Record(each))
    assert opened.caches.present[fake.host, "good"] == {each.descriptor.digest for each in made}
    assert not opened.caches.present[fake.host, "refused"]


def test_a_build_that_failed_waits_for_nothing(opened: Any, store: blobs.Blobs) -> None:
    def build() -> None:
        with early.Uploads({("127.0.0.1:1", "x"): {0}}, opened, store) as uploads:
            uploads.made(0, 0, records.Record(layer(store, "a")))
            raise errors.DockerfileError("a later step failed")

    with pytest.raises(errors.DockerfileError):
        build()


def test_an_image_wants_the_layers_that_it_is_made_of_and_a_cache_all(opened: Any) -> None:
    options = Options(context=MemoryTree({b"a": b"a"}), platform=AMD64, build_platform=AMD64, runs=False)
    plan = planner.make(df.parse(LINES, "Dockerfile"), options, NoImages())
    opened.given = SimpleNamespace(tag=["host.test/image:1", "host.test/image:2"])
    opened.given.cache_to = ["type=registry,ref=host.test/cache"]
    found = early.places(opened, [values.Output("image", push=True)], plan, AMD64)
    assert found == {("host.test", "image"): {1, 2}, ("host.test", "cache"): {0, 1, 2}}
    assert early.places(opened, [values.Output("oci", dest="x")], plan, AMD64).keys() == {("host.test", "cache")}
