"""How the tests of a whole run are spread over its workers (pytest-xdist, `--dist=loadfile`).

A worker takes a file at a time, since fixtures belong to files. What mostly waits for the cluster comes first, so that
what needs the processor fills the waits. Tests that disturb the release are on one worker: the others have no use for
theirs while one has the release alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

_HERE: Final = Path(__file__).parent
_ALONE: Final = "e2e/alone"
_DISTURBING: Final = "disturbs"
_FIRST: Final = ("e2e", _DISTURBING, "integration")


def pytest_itemcollected(item: pytest.Item) -> None:
    if _HERE / _ALONE in item.path.parents:
        item.add_marker(_DISTURBING)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (*_FIRST, _kind(item)).index(_kind(item)))


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
