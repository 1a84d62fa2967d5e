"""Building again after an edit: which RUN is found, and that what is found is what would have been made.

Each RUN has a stage of its own, so that a row of the table names exactly those that an edit reaches.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from strata_builder.context import folder
from strata_builder.dockerfile.ignore import IgnoreRules
from strata_builder.engine import steps
from strata_builder.oci.image import Image, ImageConfig
from strata_builder.oci.platform import Platform
from support import fake_roots
from support.engine_build import Built, Engine, written

FILES: dict[str, str | bytes] = {"a.txt": "aaa", "b.txt": "bbb", "d/x": "x", "d/sub/y": "y", "loose": "l"}
RUNS = {
    "plain": "RUN plain",
    "exec": 'RUN ["exec"]',
    "here": "RUN <<EOF\nbody\nEOF\n# here",
    "script": "RUN <<EOF\n#!/bin/tool\nbody\nEOF\n# script",
    "context": "RUN --mount=target=/c,source=d context",
    "whole": "RUN --mount=target=/c whole",
    "staged": "RUN --mount=from=s,source=/s/a.txt,target=/m staged",
    "tree": "RUN --mount=from=s,source=/s,target=/m,rw tree",
    "image": "RUN --mount=from=other,target=/m image",
    "cached": "RUN --mount=type=cache,id=k,target=/k cached",
    "seeded": "RUN --mount=type=cache,id=k,target=/k,from=s,source=/s seeded",
    "memory": "RUN --mount=type=tmpfs,target=/k memory",
    "secret": "RUN --mount=type=secret,id=t secret",
    "agent": "RUN --mount=type=ssh,id=t agent",
    "alone": "RUN --network=none alone",
    "boxed": "RUN --security=sandbox boxed",
    "shell": 'SHELL ["/bin/sh", "-ec"]\nRUN shell',
    "user": "USER 5\nRUN user",
    "place": "WORKDIR /w\nRUN place",
    "above": "LABEL a=1\nENV E=1\nARG A=1\nRUN above\nARG B=1\nENV F=1\nLABEL b=1",
    "unset": "ARG N\nRUN unset",
    "after": "COPY a.txt b.txt /\nRUN after",
}


def _lines(runs: Mapping[str, str] = RUNS) -> str:
    stages = "".join(f"FROM base AS {name}\n{text}\n" for name, text in runs.items())
    copies = "".join(f"COPY --from={name} /ran /{name}\n" for name in runs)
    return f"FROM scratch AS s\nCOPY a.txt b.txt d /s/\n{stages}FROM scratch\n{copies}"


@dataclass(frozen=True)
class Bases:
    """Two images without layers, told apart by their digests."""

    digests: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def resolve(self, name: str, platform: Platform) -> steps.Base:
        data = {"os": platform.os, "architecture": platform.architecture, "config": dict(self.config)}
        data["rootfs"] = {"type": "layers", "diff_ids": []}
        digest = self.digests.get(name.partition(":")[0].rpartition("/")[2], "0")
        return steps.Base(name, f"sha256:{digest * 64}", Image(ImageConfig.from_bytes(json.dumps(data).encode())))


@dataclass(frozen=True)
class Edit:
    """What is done to the context, to the text of one RUN's stage or to all of it, or asked for otherwise; `made` are
    the RUNs that it reaches."""

    name: str
    made: str = ""
    files: Callable[[Path], object] = lambda _: None
    text: tuple[str, str] = ("", "")
    first: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)


def _kept(root: Path) -> None:
    path = root / "d/x"
    status = path.stat()
    path.write_text("z")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


SHELLS = " ".join(RUNS.keys() - {"exec", "shell", "script"})
READ_D = "context whole tree seeded"
EDITS = [
    Edit("nothing"),
    Edit("a touched source of a mount", files=lambda r: os.utime(r / "d/x", (1, 1))),
    Edit("a touched folder", files=lambda r: os.utime(r / "d", (1, 1))),
    Edit("a source's content", READ_D, files=lambda r: (r / "d/x").write_text("longer")),
    Edit("a source's content, of equal size and time", READ_D, files=_kept),
    Edit("a source's mode", READ_D, files=lambda r: (r / "d/x").chmod(0o755)),
    Edit("a source's name", READ_D, files=lambda r: (r / "d/x").rename(r / "d/z")),
    Edit("a new empty folder in a source", READ_D, files=lambda r: (r / "d/new").mkdir()),
    Edit("a file below mounts", "whole staged tree seeded after", files=lambda r: (r / "a.txt").write_text("1")),
    Edit("its neighbour in the stage", "whole tree seeded after", files=lambda r: (r / "b.txt").write_text("1")),
    Edit("a file of the context that no COPY names", "whole", files=lambda r: (r / "loose").write_text("1")),
    Edit("an ignored file's content", "whole", files=lambda r: (r / ".dockerignore").write_text("loose\n")),
    Edit("an ignored file of a mount", READ_D, files=lambda r: (r / ".dockerignore").write_text("d/x\n.dockerignore\n")),
    Edit("an ignore rule that takes nothing", files=lambda r: (r / ".dockerignore").write_text("nothing\n.dockerignore\n")),
    Edit("a comment", text=("RUN plain", "# why\nRUN plain")),
    Edit("a comment in a continued line", text=("RUN plain", "RUN \\\n# why\n plain")),
    Edit("empty lines and blanks around", text=("RUN plain", "\n\n  RUN   plain  ")),
    Edit("the case of the keyword", text=("RUN plain", "run plain")),
    Edit("blanks in a JSON form", text=('["exec"]', '[ "exec" ]')),
    Edit("blanks within a command", "plain", text=("RUN plain", "RUN x  plain"), first="RUN x plain"),
    Edit("a command's text", "plain", text=("RUN plain", "RUN other plain")),
    Edit("from shell to exec form", "plain", text=("RUN plain", 'RUN ["/bin/sh", "-xc", "plain"]')),
    Edit("the shell form written as the exec form", text=("RUN plain", 'RUN ["/bin/sh", "-c", "plain"]')),
    Edit("a heredoc's body", "here", text=("body\nEOF\n# here", "other\nEOF\n# here")),
    Edit("blanks in a heredoc's body", "here", text=("body\nEOF\n# here", " body\nEOF\n# here")),
    Edit("a script's body", "script", text=("body\nEOF\n# script", "other\nEOF\n# script")),
    Edit("a script's interpreter", "script", text=("/bin/tool", "/bin/tool2")),
    Edit("the source of a bind", "context", text=("source=d context", "source=d/sub context")),
    Edit("the target of a bind", "context", text=("target=/c,source=d", "target=/c2,source=d")),
    Edit("a bind that can be written to", "context", text=("target=/c,source=d", "target=/c,source=d,rw")),
    Edit("the order of a mount's options", text=("target=/c,source=d", "source=d,target=/c")),
    Edit("other words for a mount's options", text=("target=/c,source=d", "type=bind,dst=/c,src=d")),
    Edit("the path of a bind from a stage", "staged", text=("source=/s/a.txt,", "source=/s/b.txt,")),
    Edit("the name of the stage that is mounted", text=("from=s,source=/s/a.txt", "from=0,source=/s/a.txt")),
    Edit("the digest of the image that is mounted", given={"images": Bases({"other": "1"})}),
    Edit("the name of the image that is mounted", text=("from=other", "from=another")),
    Edit("the digest of the base", given={"images": Bases({"base": "1"})}),
    Edit("a label of the base", given={"images": Bases({"base": "1"}, {"Labels": {"l": "1"}})}),
    Edit("a variable of the base", " ".join(RUNS), given={"images": Bases({"base": "1"}, {"Env": ["X=1"]})}),
    Edit("the shell of the base", SHELLS, given={"images": Bases({"base": "1"}, {"Shell": ["/bin/ash", "-c"]})}),
    Edit("the id of a cache", "cached", text=("id=k,target=/k cached", "id=k2,target=/k cached")),
    Edit("the sharing of a cache", "cached", text=("id=k,target=/k cached", "id=k,target=/k,sharing=locked cached")),
    Edit("the size of a tmpfs", "memory", text=("tmpfs,", "tmpfs,size=1m,")),
    Edit("the id of a secret", "secret", text=("secret,id=t", "secret,id=u")),
    Edit("the target of a secret", "secret", text=("secret,id=t", "secret,id=t,target=/t")),
    Edit("a secret as a variable", "secret", text=("secret,id=t", "secret,id=t,env=T")),
    Edit("a secret's content", given={"secrets": {"t": b"another"}}),
    Edit("no secret at all", given={"secrets": {}}),
    Edit("the id of an agent", "agent", text=("ssh,id=t", "ssh,id=u")),
    Edit("the network of a step", "alone", text=("--network=none alone", "alone")),
    Edit("the network's default, written out", text=("RUN plain", "RUN --network=default plain")),
    Edit("the network of all steps", " ".join(set(RUNS) - {"alone"}), given={"network": "none"}),
    Edit("the sandbox, which is the default", text=("--security=sandbox boxed", "boxed")),
    Edit("a shell's options", "shell", text=("-ec", "-exc")),
    Edit("a shell above an exec form", text=('RUN ["exec"]', 'SHELL ["/bin/ash", "-c"]\nRUN ["exec"]')),
    Edit("a user", "user", text=("USER 5", "USER 6")),
    Edit("a working directory", "place", text=("WORKDIR /w", "WORKDIR /w2")),
    Edit("a working directory, spelt otherwise", text=("WORKDIR /w", "WORKDIR w/")),
    Edit("a label above", text=("LABEL a=1", "LABEL a=2")),
    Edit("a label below", text=("LABEL b=1", "LABEL b=2")),
    Edit("a variable above", "above", text=("ENV E=1", "ENV E=2")),
    Edit("a variable below", text=("ENV F=1", "ENV F=2")),
    Edit("an argument above", "above", text=("ARG A=1", "ARG A=2")),
    Edit("an argument above, given", "above", given={"build_args": {"A": "2"}}),
    Edit("an argument above, given as it is", given={"build_args": {"A": "1"}}),
    Edit("an argument below", text=("ARG B=1", "ARG B=2")),
    Edit("an argument below, given", given={"build_args": {"B": "2"}}),
    Edit("an argument that is not declared", given={"build_args": {"C": "2"}}),
    Edit("an argument without a default, given", "unset", given={"build_args": {"N": "2"}}),
    Edit("a proxy", given={"build_args": {"HTTP_PROXY": "http://proxy.example"}}),
    Edit("metadata between the steps", text=("RUN plain", "CMD x\nEXPOSE 80\nSTOPSIGNAL 9\nRUN plain")),
    Edit("the order of sources with the same result", text=("COPY a.txt b.txt /\n", "COPY b.txt a.txt /\n")),
    Edit("a label of the image", given={"labels": {"l": "1"}}),
    Edit("the time of the commit", given={"created": 5}),
    Edit("the epoch", " ".join(RUNS), given={"source_date_epoch": 5}),
]  # fmt: skip


def _build(engine: Engine, root: Path, lines: str, given: Mapping[str, Any], **more: Any) -> Built:
    ignore = root / ".dockerignore"
    rules = IgnoreRules.parse(ignore.read_bytes()) if ignore.exists() else None
    defaults = {"images": Bases(), "secrets": {"t": b"content"}, "runs": True}
    return engine.build(lines, folder.FolderTree(root, rules), **{**defaults, **given, **more})


def _made(built: Built, lines: str) -> set[str]:
    """The stages whose RUN was not found; those that nothing needed are not among the steps."""
    texts = lines.split("\n")
    runs = [step for step in built.steps if step.instruction.startswith("RUN") and not step.cached]
    above = [[text for text in texts[: step.line] if text.startswith("FROM base AS ")][-1] for step in runs]
    return {text.split()[-1] for text in above}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A cache in which everything is that there was before any edit."""
    folder = tmp_path_factory.mktemp("before")
    engine = Engine(folder / "cache", roots=fake_roots.FakeRoots(folder / "cache"))
    assert _made(_build(engine, written(folder / "context", FILES), _lines(), {}), _lines()) == set(RUNS)
    return engine


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_exactly_these_runs_are_made_anew_after_an_edit(tmp_path: Path, before: Engine, edit: Edit) -> None:
    old, new = edit.text
    root = written(tmp_path / "context", FILES)
    engine = Engine(before.folder, before.known, before.roots)
    if edit.first:
        _build(engine, root, _lines().replace(old, edit.first), {})
    edit.files(root)
    lines = _lines().replace(old, new) if old else _lines()
    assert lines != _lines() or not old
    warm = _build(engine, root, lines, edit.given)
    assert _made(warm, lines) == set(edit.made.split())
    anew = _build(engine, root, lines, edit.given, no_cache=True)
    assert _made(anew, lines) == set(RUNS)
    assert warm.image.digest == anew.image.digest
