"""How the tests of a whole run are spread over its workers (pytest-xdist, `--dist=loadfile`).

A worker takes a file at a time, since fixtures belong to files. What mostly waits for the cluster comes first, so that
what needs the processor fills the waits, and no more than these: all that is on the cluster goes one after the other in
the end, and a pod has far less of a busy machine than a process of ours, unless that one is nice. Tests that disturb the
release are on one worker: the others have no use for theirs while one has the release alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

_HERE: Final = Path(__file__).parent
_ALONE: Final = "e2e/alone"
_DISTURBING: Final = "disturbs"
_CLUSTER: Final = ("e2e", _DISTURBING)
_FIRST: Final = (*_CLUSTER, "integration")
#: Minutes each: one that began last would have the release long after the others are done.
_LONGEST: Final = ("test_e2e_examples.py", "test_e2e_named_again.py", "test_e2e_thirdparty.py")
_NICE: Final = 10


def pytest_itemcollected(item: pytest.Item) -> None:
    if _HERE / _ALONE in item.path.parents:
        item.add_marker(_DISTURBING)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ((*_FIRST, _kind(item)).index(_kind(item)), item.path.name not in _LONGEST))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Once a worker has come to what needs no cluster, it stays nice, and so do the processes that it starts."""
    if _kind(item) not in _CLUSTER:
        os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))


def _kind(item: pytest.Item) -> str:
    if item.get_closest_marker(_DISTURBING):
        return _DISTURBING
    return item.path.relative_to(_HERE).parts[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadFileScheduling

    class OneDisturbs(LoadFileScheduling):
        """All that disturbs the release counts as one file."""

        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return _ALONE if f"{_ALONE}/" in file else file

    return OneDisturbs(config, log)
