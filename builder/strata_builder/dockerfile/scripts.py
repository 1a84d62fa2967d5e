"""What a RUN gives to its shell, and the file that a here-document with an interpreter line becomes."""

from __future__ import annotations

from strata_builder.dockerfile import words
from strata_builder.dockerfile.instructions import Run
from strata_builder.frozen import frozen


@frozen
class Script:
    """`command` is the shell's argument; if `interpreted`, the content of an executable file named `name` instead."""

    command: str
    interpreted: bool = False
    name: str = ""


def script_of(run: Run) -> Script:
    """The script of a RUN in shell form.

    RUN <<EOF alone: the body is the script, or, if it begins with #!, a program. Anything else on the line: the shell
    reads the here-documents itself, so line and bodies are put together again. Bodies end their lines with \\n.
    """
    if not run.heredocs:
        return Script(run.command)
    first = run.heredocs[0]
    if words.heredoc_opener(run.command) is None:
        bodies = (f"\n{heredoc.body}{heredoc.name}" for heredoc in run.heredocs)
        return Script(_unix(run.command + "".join(bodies)))
    content = _unix(first.content)
    return Script(content, interpreted=content.startswith("#!"), name=first.name)


def _unix(script: str) -> str:
    return script.replace("\r\n", "\n")
