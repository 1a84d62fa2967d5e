"""A step that fails ends the build, whoever waits for its stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from strata_builder import errors
from strata_builder.context.memory import MemoryTree
from strata_builder.oci.image import LayerRef
from strata_builder.sandbox import command
from support import engine_build

WAITING = {
    "a step mounts it, and the last stage is based on that": (
        "FROM scratch AS mounts\nRUN --mount=from=fails,target=/m ['/x']\n"
        "FROM mounts\nRUN --mount=from=fails,target=/m ['/y']\n"
    ),
    "a chain of stages": "FROM fails AS a\nFROM a AS b\nFROM b AS c\nFROM c\nRUN ['/x']\n",
    "stages that copy from one another": (
        "FROM scratch AS a\nCOPY --from=fails f /\nFROM scratch AS b\nCOPY --from=a f /\nFROM scratch\nCOPY --from=b f /\n"
    ),
}


class FailingRoots:
    """Every step ends with exit code 1, when the other stages wait for it; /long goes on until the build is ended."""

    exclusive = False

    def open(self) -> SimpleNamespace:
        def nothing(*_: object, **__: object) -> None: ...

        return SimpleNamespace(sync=nothing, run=self._run, close=nothing)

    @staticmethod
    def _run(wanted: command.Command, *, cancel: threading.Event, **_: object) -> command.Outcome:
        if wanted.argv == ("/long",):
            cancel.wait(20)
            raise errors.Cancelled("the build was cancelled while this step ran")
        time.sleep(0.2)
        return command.Outcome(1)

    @contextmanager
    def show(self, layers: Sequence[LayerRef]) -> Iterator[Path]:
        raise AssertionError(f"{layers} of a stage that failed")
        yield

    def caches(self) -> Path:
        raise AssertionError("no step has a cache")


@pytest.mark.parametrize("rest", WAITING.values(), ids=WAITING.keys())
def test_stages_that_wait_for_a_failed_one_end(tmp_path: Path, rest: str) -> None:
    failure = _failure(f"FROM scratch AS fails\nRUN ['/false']\n{rest}", tmp_path)
    assert isinstance(failure, errors.RunFailed), failure
    assert failure.place is not None
    assert failure.place.line == 2


def test_the_failure_is_told_and_not_that_it_ended_an_earlier_stage(tmp_path: Path) -> None:
    early = "FROM scratch AS early\nRUN ['/long']\nFROM scratch AS fails\nRUN ['/false']\n"
    failure = _failure(f"{early}FROM early\nRUN --mount=from=fails,target=/m ['/y']\n", tmp_path)
    assert isinstance(failure, errors.RunFailed), failure
    assert failure.place is not None
    assert failure.place.line == 4


def _failure(dockerfile: str, folder: Path) -> BaseException | None:
    """What a build raises, which must end in any case."""
    engine = engine_build.Engine(folder, roots=FailingRoots())
    ended: futures.Future[BaseException | None] = futures.Future()

    def build() -> None:
        try:
            engine.build(dockerfile.replace("'", '"'), MemoryTree({}), runs=True)
        except BaseException as e:  # noqa: BLE001  told below
            ended.set_result(e)
        else:
            ended.set_result(None)

    threading.Thread(target=build, daemon=True).start()
    return ended.result(timeout=30)
