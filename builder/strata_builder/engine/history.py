"""The line that an instruction leaves in an image's history: resolved words, never the value of a secret. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import metadata
from strata_builder.engine.options import PROXY_ARGS
from strata_builder.oci import strictjson
from strata_builder.oci.image import ImageConfig

COMMENT = "strata.dockerfile.v1"


def stamp(seconds: int) -> str:
    """A Unix time as configs and histories have it (RFC 3339)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def created_by(instruction: ins.Instruction, config: ImageConfig, args: Mapping[str, str]) -> str:
    """`instruction` resolved; `config` before it; `args` what ARG declared so far (RUN lists them, as docker does).

    In what goes into JSON and onto terminals, bytes that are no UTF-8 are U+FFFD."""
    return str(strictjson.writable(_line(instruction, config, args)))


def _line(instruction: ins.Instruction, config: ImageConfig, args: Mapping[str, str]) -> str:
    if isinstance(instruction, ins.Run):
        return _run(instruction, config, args)
    if isinstance(instruction, ins.Copy | ins.Add):
        return " ".join([instruction.keyword, *_copy_flags(instruction), *_copy_words(instruction)])
    if isinstance(instruction, ins.Env | ins.Label):
        return " ".join([instruction.keyword, *(f"{name}={value}" for name, value in instruction.pairs)])
    if isinstance(instruction, ins.Cmd | ins.Entrypoint):
        return f"{instruction.keyword} {json.dumps(metadata.argv(instruction, config), ensure_ascii=False)}"
    if isinstance(instruction, ins.Workdir):
        return f"WORKDIR {instruction.path}"
    if isinstance(instruction, ins.User):
        return f"USER {instruction.user}"
    if isinstance(instruction, ins.Expose):
        return " ".join(["EXPOSE", *instruction.ports])
    return instruction.text


def _run(run: ins.Run, config: ImageConfig, args: Mapping[str, str]) -> str:
    shown = [f"{name}={value}" for name, value in args.items() if name not in PROXY_ARGS]
    words = [f"|{len(shown)}", *shown] if shown else []
    return " ".join(["RUN", *words, *metadata.argv(run, config)])


def _copy_flags(copy: ins.Copy | ins.Add) -> list[str]:
    values = [("chown", copy.chown), ("chmod", copy.chmod)]
    if isinstance(copy, ins.Copy) and copy.from_ is not None:
        values.insert(0, ("from", copy.from_))
    return [f"--{name}={value}" for name, value in values if value] + (["--link"] if copy.link else [])


def _copy_words(copy: ins.Copy | ins.Add) -> list[str]:
    return [*copy.sources, *(f"<<{heredoc.name}" for heredoc in copy.heredocs), copy.dest]
