"""The two ways in: the command `strata`, and `strata-pod` in each container of a builder pod."""

from __future__ import annotations

from typing import NoReturn

from strata_builder import garbage

garbage.collect_seldom()  # what is loaded next is a hundred thousand objects, and no garbage


def command() -> int:
    """`strata` with the process's own arguments. Returns an exit code of contract.ExitCode."""
    from strata_builder.cli.main import main

    return main()


def pod() -> NoReturn:
    """`strata-pod ROLE`, to the end of the process."""
    from strata_builder.pod import ending, main

    ending.leave(main.main())
