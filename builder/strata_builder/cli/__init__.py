"""`strata`: builds images with Docker's own flags, on a host, with no cluster and no daemon.

::

    arguments.py   the command line, and its help       values.py   K=V, type=...,dest=... -> typed values (pure)
    usage.py       its values, before any work          refused.py  docker's flags that mean nothing here (pure)
    building.py    one `strata build`                   exports.py  the result as a registry image, archive or folder
    planning.py    `strata plan`                        store.py    what is kept between builds on this machine
    checking.py    `strata check`                        agents.py   --ssh
"""

from strata_builder.cli.main import main

__all__ = ["main"]
