"""From a command line to an exit code; what went wrong is told on standard error."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from typing import Final

from strata_builder import contract, errors
from strata_builder.cli import arguments, usage, values

#: What a file system refuses whoever asks: nothing that this program could have done better.
_SURROUNDINGS: Final = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR),
        *(errno.EISDIR, errno.EEXIST, errno.ENXIO),
        *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE),
    }
)
#: What may become of anything that is written, standard output too, which has no name.
_WRITING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE})


def main(argv: list[str] | None = None) -> int:
    """Runs `strata` with `argv` (default: the process's own). Returns an exit code of contract.ExitCode."""
    given = None
    try:
        given = arguments.parse(sys.argv[1:] if argv is None else argv)
        if given.command != "logs":
            usage.check(given)
        return _command(given)(given)
    except errors.BuildError as e:
        if getattr(given, "debug", False):
            _print_where()
        print(f"error: {e}", file=sys.stderr)
        return _exit_code(e)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return contract.ExitCode.INTERRUPTED
    except OSError as e:
        if e.errno not in (_SURROUNDINGS if e.filename else _WRITING):
            return _fault()
        if getattr(given, "debug", False):
            _print_where()
        print(f"error: {os.fsdecode(e.filename) if e.filename else 'cannot write'}: {e.strerror}", file=sys.stderr)
        return contract.ExitCode.FAILED
    except Exception:  # noqa: BLE001  the last resort
        return _fault()


def _fault() -> int:
    """A fault of this program, told as one."""
    _print_where()
    print("error: this is a fault of strata; please report it with the lines above", file=sys.stderr)
    return contract.ExitCode.FAILED


def _print_where() -> None:
    import traceback

    traceback.print_exc()


def _command(given: argparse.Namespace) -> arguments.Command:
    """Imported when it is wanted: `strata --help` loads nothing."""
    if given.command == "build" and given.call == "build":
        from strata_builder.cli import building

        return building.run
    if given.command == "logs":
        from strata_builder.cli.logs import command

        return command.run
    if given.command == "plan":
        from strata_builder.cli import planning

        return planning.plan
    from strata_builder.cli import checking

    return checking.run


def _exit_code(error: errors.BuildError) -> int:
    if isinstance(error, values.UsageError):
        return contract.ExitCode.USAGE
    if isinstance(error, errors.RunFailed):
        return contract.ExitCode.RUN_FAILED
    return contract.ExitCode.RETRYABLE if error.retryable else contract.ExitCode.FAILED
