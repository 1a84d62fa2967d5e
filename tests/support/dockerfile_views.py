"""Strata's reading of a Dockerfile in the form in which the reference gives its own."""

from __future__ import annotations

import base64
from typing import Any

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import text


def parsed(source: bytes, env: dict[str, str]) -> dict[str, Any]:
    """Stages and instructions, each also with the variables of `env` expanded; or error, start, end."""
    try:
        file = df.parse(source)
    except errors.DockerfileError as error:
        return _failure(error)
    return {
        "escape": file.escape,
        "meta_args": [_placed(arg, _pairs(arg)) for arg in file.meta_args],
        "stages": [
            {
                "from": _placed(
                    stage.from_,
                    {"image": stage.from_.image, "name": stage.name or "", "platform": stage.from_.platform},
                ),
                "instructions": [_instruction(each, env, file) for each in stage.instructions],
            }
            for stage in file.stages
        ],
    }


def _failure(error: errors.DockerfileError) -> dict[str, Any]:
    place = error.place
    return {"error": error.message, "start": place.line if place else 0, "end": place.end_line if place else 0}


def _instruction(instruction: df.Instruction, env: dict[str, str], file: df.Dockerfile) -> dict[str, Any]:
    try:
        resolved = _view(df.resolve(instruction, env, escape=file.escape), resolved=True)
    except errors.DockerfileError as error:
        resolved = {"error": error.message}
    return _placed(instruction, _view(instruction, resolved=False)) | {"resolved": resolved}


def _placed(instruction: df.Instruction, fields: dict[str, Any]) -> dict[str, Any]:
    span = instruction.span
    return {"keyword": instruction.keyword, "start": span.start, "end": span.end} | fields


def _view(instruction: df.Instruction, *, resolved: bool) -> dict[str, Any]:
    match instruction:
        case df.Run():
            return _run(instruction, resolved=resolved)
        case df.Command():
            return _command(instruction)
        case df.Copy():
            return _paths(instruction) | {"from": instruction.from_ or "", "parents": instruction.parents}
        case df.Add():
            own = {"checksum": instruction.checksum, "keep_git_dir": instruction.keep_git_dir}
            return _paths(instruction) | own | {"unpack": instruction.unpack}
        case df.Arg() | df.Env() | df.Label():
            return _pairs(instruction)
        case df.Healthcheck():
            return _health(instruction)
        case _:
            return _small(instruction)


def _small(instruction: df.Instruction) -> dict[str, Any]:
    match instruction:
        case df.Maintainer():
            return {"name": instruction.name}
        case df.OnBuild():
            return {"trigger": instruction.trigger}
        case df.Workdir():
            return {"path": instruction.path}
        case df.Expose():
            return {"ports": sorted(instruction.ports)}
        case df.User():
            return {"user": instruction.user}
        case df.Volume():
            return {"paths": list(instruction.paths)}
        case df.StopSignal():
            return {"signal": instruction.signal}
        case df.Shell():
            return {"argv": list(instruction.argv)}
        case _:
            raise TypeError(instruction)


def _pairs(instruction: df.Arg | df.Env | df.Label) -> dict[str, Any]:
    return {"pairs": [list(pair) for pair in instruction.pairs]}


def _argv(command: df.Command) -> list[str]:
    return [command.command] if command.shell and command.command else list(command.argv)


def _command(command: df.Command) -> dict[str, Any]:
    return {"shell": command.shell, "argv": _argv(command), "files": []}


def _run(run: df.Run, *, resolved: bool) -> dict[str, Any]:
    files = [{"name": each.name, "content": _base64(each.body), "chomp": each.chomp} for each in run.heredocs]
    return _command(run) | {
        "files": files,
        "mounts": [_mount(mount) if resolved else {"from": mount.from_} for mount in run.mounts],
        "network": run.network or "default",
        "security": run.security or "sandbox",
    }


def _mount(mount: df.Mount) -> dict[str, Any]:
    return {
        "type": mount.type,
        "from": mount.from_,
        "source": mount.source,
        "target": mount.target,
        "readonly": mount.readonly,
        "size": mount.size or 0,
        "id": mount.id,
        "sharing": mount.sharing,
        "required": mount.required,
        "env": mount.env or None,
        "mode": mount.mode,
        "uid": mount.uid,
        "gid": mount.gid,
    }


def _paths(copy: df.Copy | df.Add) -> dict[str, Any]:
    return {
        "sources": list(copy.sources),
        "dest": "" if copy.dest == "." else copy.dest,
        "inline": [{"name": each.name, "content": _base64(each.content)} for each in copy.heredocs],
        "chown": copy.chown,
        "chmod": copy.chmod,
        "link": copy.link,
        "exclude": list(copy.exclude),
    }


def _health(health: df.Healthcheck) -> dict[str, Any]:
    test = ["NONE"]
    if health.cmd is not None:
        test = ["CMD-SHELL" if health.cmd.shell else "CMD", *_argv(health.cmd)]
    return {
        "test": test,
        "interval": health.interval,
        "timeout": health.timeout,
        "start_period": health.start_period,
        "start_interval": health.start_interval,
        "retries": health.retries,
    }


def _base64(body: str) -> str:
    return base64.b64encode(text.encode(body)).decode()
