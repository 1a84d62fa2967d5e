"""From a command line to an exit code; what went wrong is told on standard error."""

from __future__ import annotations

import sys
import traceback

from strata_builder import contract, errors
from strata_builder.cli import arguments


def main(argv: list[str] | None = None) -> int:
    """Runs `strata` with `argv` (default: the process's own). Returns an exit code of contract.ExitCode."""
    given = arguments.parser().parse_args(argv)
    try:
        return _command(given.command)(given)
    except errors.BuildError as e:
        print(f"error: {e}", file=sys.stderr)
        return _exit_code(e)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return contract.ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001  the last resort: a fault of this program, told as one
        traceback.print_exc()
        print("error: this is a fault of strata; please report it with the lines above", file=sys.stderr)
        return contract.ExitCode.FAILED


def _command(name: str) -> arguments.Command:
    """Imported when it is wanted: `strata --help` loads nothing."""
    if name == "build":
        from strata_builder.cli import building

        return building.run
    from strata_builder.cli import planning

    return planning.plan if name == "plan" else planning.check


def _exit_code(error: errors.BuildError) -> int:
    from strata_builder.cli import values

    if isinstance(error, values.UsageError):
        return contract.ExitCode.USAGE
    if isinstance(error, errors.RunFailed):
        return contract.ExitCode.RUN_FAILED
    return contract.ExitCode.RETRYABLE if error.retryable else contract.ExitCode.FAILED
