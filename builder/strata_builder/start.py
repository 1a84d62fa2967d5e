"""The two ways in: the command `strata`, and `strata-pod` in each container of a builder pod."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from strata_builder import garbage

garbage.collect_seldom()  # what is loaded next is a hundred thousand objects, and no garbage


def command() -> NoReturn:
    """`strata` with the process's own arguments, to the end of the process, which has an exit code of contract.ExitCode."""
    from strata_builder.cli.main import main

    leave(main())


def pod() -> NoReturn:
    """`strata-pod ROLE`, to the end of the process."""
    from strata_builder.pod import main

    leave(main.main())


def leave(code: int) -> NoReturn:
    """Ends the process now: a thread that waits for the network must not keep it alive, and taking apart what was loaded
    would be a tenth of a small build."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # none where the program was started with it closed
        try:
            stream.flush()
        except OSError as e:
            code = code or 1
            if stream is sys.stdout and not isinstance(e, BrokenPipeError):  # else its reader has had enough
                print(f"error: cannot write to standard output: {e.strerror}", file=sys.stderr)
    os._exit(code)
