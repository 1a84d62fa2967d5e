"""The operator's own hand in registries whose hosts its users name."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from strata_builder import contract
from strata_operator.imagebuild import remote
from strata_operator.registry import probe
from support.drips import BEGINNINGS, Drips

DIGEST = "sha256:" + "a" * 64


def left_behind(access: remote.Access) -> Any:
    return remote.left_behind(access, "team/web", uid="u", number=1, attempt=1, built_for="linux/amd64")


@pytest.mark.parametrize("where", ["status", "header"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda access: remote.published(access, "team/web", DIGEST),
        lambda access: remote.tag(access, "team/web", DIGEST, ["latest", "v1"]),
        left_behind,
        lambda access: probe._probe(probe.Target(access.host, insecure=True)),
    ],
    ids=["published", "tag", "left_behind", "probe"],
)
def test_a_host_that_answers_byte_by_byte_does_not_keep_a_thread(monkeypatch, ask: Callable[[Any], Any], where: str):
    """A minute or two at most: after five a reconcile counts as stuck, and the operator is started anew."""
    assert max(remote._LONGEST, probe._LONGEST) <= 120
    for module in (remote, probe):
        monkeypatch.setattr(module, "_LONGEST", 0.5)
    began = time.monotonic()
    with Drips(BEGINNINGS[where]) as drips:
        found = ask(remote.Access(drips.host, insecure=True))
    assert time.monotonic() - began < 10
    if isinstance(found, probe.Outcome):
        assert found.reason == "Unreachable"
    else:
        assert isinstance(found, contract.Failure)
        assert found.reason in contract.RETRIED
    assert "no answer in time" in found.message
