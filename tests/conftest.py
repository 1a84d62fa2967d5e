"""How the tests of a whole run are spread over its workers (pytest-xdist, `--dist=loadgroup`).

A worker takes a file at a time, since fixtures belong to files. What mostly waits for the cluster comes first, so that
what needs the processor fills the waits. Tests that disturb the release are one group, on one worker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

_HERE: Final = Path(__file__).parent
_FAULTS: Final = _HERE / "e2e/faults"
_DISTURBING: Final = "disturbs"
_FIRST: Final = ("e2e", _DISTURBING, "integration")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist writes the groups into the tests' ids
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _FAULTS in item.path.parents:
            item.add_marker(_DISTURBING)
        if item.get_closest_marker(_DISTURBING):
            item.add_marker(pytest.mark.xdist_group(_DISTURBING))
    items.sort(key=lambda item: (*_FIRST, _kind(item)).index(_kind(item)))


def _kind(item: pytest.Item) -> str:
    if item.get_closest_marker(_DISTURBING):
        return _DISTURBING
    return item.path.relative_to(_HERE).parts[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        """A test that is in no group belongs to its file."""

        def _split_scope(self, nodeid: str) -> str:
            group: str = super()._split_scope(nodeid)
            return nodeid.partition("::")[0] if group == nodeid else group

    return ByFile(config, log)
