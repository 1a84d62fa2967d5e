"""Checks of a Dockerfile that is right and yet likely not what was meant: those of BuildKit, by their names.

::

    settings.py   # check=skip=...;experimental=...;error=true          text -> Settings
    findings.py   what is found, where, and which settings drop it
    texts.py      checks of what is written
    froms.py      checks of FROM lines
    steps.py      checks of instructions whose variables are expanded, told by the planner
    check.py      all of them
    building.py   those of a build, told at its end
"""

from strata_builder.lint.check import Report, check
from strata_builder.lint.findings import Finding
from strata_builder.lint.settings import Settings

__all__ = ["Finding", "Report", "Settings", "check"]
