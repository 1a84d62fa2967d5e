"""The Dockerfile language, pure: bytes -> logical lines -> words -> typed instructions -> stages; and .dockerignore.

::

    lines.py          directives, comments, continuations, here-documents     bytes -> one line of text an instruction
    words.py          keyword, flags, words, pairs, JSON arrays
    parsers.py        one parser an instruction, found in a table: commands.py, copies.py, settings.py, bases.py
                      words (statements.py) -> instructions.py (typed values)
    parse.py          the whole file; faults get their place                  -> stages.py (Dockerfile, Stage)
    resolve.py        the same instruction with variables expanded (expansion.py, globs.py)
    naming.py         what a Dockerfile and its ignore file are called
    match.py          wildcards of COPY; patterns.py those of --exclude and of .dockerignore (ignore.py)
"""

from strata_builder.dockerfile.expansion import expand
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    Mount,
    OnBuild,
    Run,
    Shell,
    Span,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from strata_builder.dockerfile.match import BadPattern, go_match, has_wildcard
from strata_builder.dockerfile.naming import candidates, ignore_file
from strata_builder.dockerfile.parse import MAX_BYTES, MAX_INSTRUCTIONS, parse, parse_instruction
from strata_builder.dockerfile.patterns import Patterns
from strata_builder.dockerfile.resolve import resolve, resolve_arg, resolve_targets
from strata_builder.dockerfile.scripts import Script, script_of
from strata_builder.dockerfile.stages import Dockerfile, Stage, find_base, find_stage, place
from strata_builder.dockerfile.text import printable

__all__ = [
    "MAX_BYTES",
    "MAX_INSTRUCTIONS",
    "Add",
    "Arg",
    "BadPattern",
    "Cmd",
    "Command",
    "Copy",
    "Dockerfile",
    "Entrypoint",
    "Env",
    "Expose",
    "From",
    "Healthcheck",
    "Heredoc",
    "IgnoreRules",
    "Instruction",
    "Label",
    "Maintainer",
    "Mount",
    "OnBuild",
    "Patterns",
    "Run",
    "Script",
    "Shell",
    "Span",
    "Stage",
    "StopSignal",
    "User",
    "Volume",
    "Workdir",
    "candidates",
    "expand",
    "find_base",
    "find_stage",
    "go_match",
    "has_wildcard",
    "ignore_file",
    "parse",
    "parse_instruction",
    "place",
    "printable",
    "resolve",
    "resolve_arg",
    "resolve_targets",
    "script_of",
]
