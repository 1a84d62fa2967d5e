"""What is written over the records of earlier builds where those cannot be read."""

from __future__ import annotations

import contextlib
import json

import pytest

from strata_builder.engine import artifact, recording, records
from strata_builder.registry import retry
from strata_builder.registry.client import Registry
from support.fake_registry import FakeRegistry

KEY = "a" * 64
MADE = records.Records(steps={KEY: records.Record(None, 20_000)})


def write(registry: Registry) -> None:
    recording.write(registry, "team/app", "cache", MADE, today=20_000, max_age=10, max_size=1 << 20)


@pytest.mark.parametrize("harm", ["lost", "damaged", "cut short", "no JSON"])
def test_records_that_cannot_be_read_are_written_anew(harm: str) -> None:
    policy = retry.Policy(attempts=1, sleep=lambda _: None)
    with FakeRegistry() as fake:
        with contextlib.closing(Registry(fake.host, insecure=True, policy=policy)) as registry:
            write(registry)
            config = json.loads(fake.manifests["team/app"]["cache"][0])["config"]["digest"]
            held = fake.blobs["team/app"].pop(config)
            left = {"damaged": b"x" + held[1:], "cut short": held[:-1], "no JSON": b"[" * len(held)}
            if harm in left:
                fake.blobs["team/app"][config] = left[harm]
        with contextlib.closing(Registry(fake.host, insecure=True, policy=policy)) as registry:
            write(registry)
            assert artifact.read(registry, "team/app", "cache").steps == MADE.steps
