"""Files between containers, the writer of which may be hostile."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.pod import alive, exchange


class FakePeer(alive.Peer):
    """Lost from the n-th look on."""

    def __init__(self, lost_at: int = 1 << 30) -> None:
        self.role, self.looks, self.lost_at = "fetch", 0, lost_at

    def check(self) -> None:
        self.looks += 1
        if self.looks >= self.lost_at:
            raise alive.PeerLost("gone")


def test_a_published_file_is_whole_and_readable_for_all(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        exchange.publish(tmp_path / "f", b"x" * 1000)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o644
    assert exchange.read(tmp_path / "f", 1000) == b"x" * 1000
    assert os.listdir(tmp_path) == ["f"]


def test_what_another_left_is_read_with_a_limit_and_never_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 11)
    os.symlink("/etc/passwd", tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(alive.PeerLost, match="larger than 10 bytes"):
        exchange.read(tmp_path / "big", 10)
    with pytest.raises(alive.PeerLost, match="cannot read link"):
        exchange.read(tmp_path / "link", 10)
    assert exchange.read(tmp_path / "fifo", 10) == b""  # nobody writes: it neither hangs nor gives anything


def test_waiting_ends_when_the_peer_does(tmp_path: Path) -> None:
    peer = FakePeer(lost_at=2)
    with pytest.raises(alive.PeerLost, match="gone"):
        exchange.wait(lambda: exchange.there(tmp_path / "never"), [peer])


def test_what_a_peer_left_just_before_it_ended_counts(tmp_path: Path) -> None:
    looks = iter([None, tmp_path])
    assert exchange.wait(lambda: next(looks), [FakePeer(lost_at=1)]) == tmp_path


def test_names_that_are_no_digests_are_passed_over(tmp_path: Path) -> None:
    good = "a" * 64
    for name in (good, "A" * 64, "a" * 63, "a" * 65, ".partial-x", f"{good}.refused", "evil\nname"):
        (tmp_path / name).touch()
    assert list(exchange.names(tmp_path, set())) == [good]
    assert list(exchange.names(tmp_path, {good})) == []
    assert list(exchange.names(tmp_path / "nowhere", set())) == []


def test_a_request_is_answered_or_refused(tmp_path: Path) -> None:
    asked, brought = tmp_path / "asked", tmp_path / "brought"
    brought.mkdir()
    requests = exchange.Requests(asked, brought, FakePeer())
    digest = "sha256:" + "b" * 64

    def serve() -> None:
        while not (asked / ("b" * 64)).exists():
            time.sleep(0.01)
        exchange.publish(brought / ("b" * 64), b"blob")

    thread = threading.Thread(target=serve)
    thread.start()
    assert requests.bring(digest).read_bytes() == b"blob"
    thread.join()
    exchange.publish(brought / ("c" * 64 + ".refused"), b"the plan does not name it")
    with pytest.raises(errors.InfrastructureFailed, match=r"could not bring .*: the plan does not name it"):
        requests.bring("sha256:" + "c" * 64)
