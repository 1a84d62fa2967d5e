"""What push takes of the files that a hostile build leaves."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.pod import collecting, planfile, stepping, uploads, wire
from strata_builder.pod.paths import Paths
from strata_builder.registry.client import Registry
from support.fake_registry import FakeRegistry

NAME = "a" * 64
SIZE = 1 << 20


def holes(file: Path) -> None:
    file.touch()
    os.truncate(file, SIZE)


def a_hole_at_the_end(file: Path) -> None:
    file.write_bytes(os.urandom(8192))
    os.truncate(file, SIZE)


def a_hole_between(file: Path) -> None:
    with file.open("wb") as out:
        out.write(os.urandom(8192))
        out.seek(SIZE)
        out.write(os.urandom(8192))


@pytest.mark.parametrize("left", [holes, a_hole_at_the_end, a_hole_between])
def test_what_takes_no_room_here_takes_none_in_the_registry(tmp_path: Path, left) -> None:
    paths = Paths(tmp_path)
    paths.made.mkdir(parents=True)
    left(paths.made / NAME)
    plan = planfile.PlanFile({}, "", (), (), (), (), (), 0.0, 0)  # type: ignore[arg-type]
    heard = stepping.Heard(paths.told, paths.acks, frozenset())
    with FakeRegistry() as fake, contextlib.closing(Registry(fake.host, insecure=True)) as registry:
        taken = collecting.Collector(paths, plan, registry, "team/app", heard, keeps=True)
        with pytest.raises(errors.InfrastructureFailed, match="has holes"):
            taken.upload(f"sha256:{NAME}")
        assert fake.requests("PUT") == []


@pytest.mark.parametrize("size", [0, 1, 4096, SIZE + 1])
def test_a_file_without_holes_is_read_from_its_beginning(tmp_path: Path, size: int) -> None:
    paths, data = Paths(tmp_path), os.urandom(size)
    paths.made.mkdir(parents=True)
    (paths.made / NAME).write_bytes(data)
    plan = planfile.PlanFile({}, "", (), (), (), (), (), 0.0, 0)  # type: ignore[arg-type]
    heard = stepping.Heard(paths.told, paths.acks, frozenset())
    taken = collecting.Collector(paths, plan, None, "team/app", heard, keeps=True)  # type: ignore[arg-type]
    with taken.open(f"sha256:{NAME}") as file:
        assert file.read() == data


def test_no_more_layers_go_to_the_registry_than_there_are_steps(tmp_path: Path) -> None:
    """Each one is gone when the next one comes, so that no limit of the pod's disk is met."""
    sent: list[str] = []
    sending = uploads.Uploads(sent.append, tmp_path, most=3)
    for number in range(3):
        (tmp_path / f"{number:064}").touch()
        sending.finish()
        (tmp_path / f"{number:064}").unlink()
    (tmp_path / f"{3:064}").touch()
    with pytest.raises(wire.WireError, match="more layers than the 3 steps"):
        sending.finish()
    sending.close()
    assert len(sent) == 3
