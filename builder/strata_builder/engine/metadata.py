"""What an instruction changes in an image's config. Pure: config -> config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from strata_builder import dockerfile as df
from strata_builder.dockerfile import instructions as ins
from strata_builder.oci.image import ImageConfig
from strata_builder.oci.platform import Platform

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")


def environment(config: ImageConfig) -> dict[str, str]:
    """The config's Env; of a name given twice the last counts, at its first place."""
    return dict(item.partition("=")[::2] for item in config.env)


def shell(config: ImageConfig) -> tuple[str, ...]:
    return config.shell or DEFAULT_SHELL


def argv(command: ins.Command, config: ImageConfig) -> tuple[str, ...]:
    """What a shell or exec form runs."""
    if not command.shell:
        return command.argv
    text = df.script_of(command).command if isinstance(command, ins.Run) else command.command
    return (*shell(config), text)


def running(config: ImageConfig) -> ImageConfig:
    """Of `config` what decides how a step is done: platform, user and shell."""
    empty = ImageConfig.scratch(Platform(config.os, config.architecture, config.variant))
    return empty.with_(user=config.user, shell=config.shell)


def for_platform(config: ImageConfig, platform: Platform) -> ImageConfig:
    """The config of an image for the platform that was asked for, whatever its base was for.

    A base of the same system and architecture keeps its variant unless another was asked for.
    """
    same = (config.os, config.architecture) == (platform.os, platform.architecture)
    variant = config.variant if same and not platform.variant else platform.variant
    return config.with_(os=platform.os, architecture=platform.architecture, variant=variant)


def apply(config: ImageConfig, instruction: ins.Instruction, *, own_cmd: bool) -> ImageConfig:
    """`config` after a resolved `instruction`; unchanged by those that only touch files.

    `own_cmd` tells whether this stage has set CMD: ENTRYPOINT drops an inherited one and keeps its own.
    """
    if isinstance(instruction, ins.Entrypoint):
        return _entrypoint(config, instruction, own_cmd=own_cmd)
    changer = _CHANGES.get(type(instruction))
    return changer(config, instruction) if changer else config


def _entrypoint(config: ImageConfig, instruction: ins.Entrypoint, *, own_cmd: bool) -> ImageConfig:
    config = config.with_(entrypoint=argv(instruction, config) or None)
    return config if own_cmd else config.with_(cmd=None)


def _env(config: ImageConfig, instruction: ins.Env) -> ImageConfig:
    merged = environment(config) | dict(instruction.pairs)
    return config.with_(env=[f"{name}={value}" for name, value in merged.items()])


def _healthcheck(config: ImageConfig, instruction: ins.Healthcheck) -> ImageConfig:
    if instruction.none or instruction.cmd is None:
        return config.with_(healthcheck={"Test": ["NONE"]})
    command = instruction.cmd
    test = ["CMD-SHELL", command.command] if command.shell else ["CMD", *command.argv]
    numbers = {
        "Interval": instruction.interval,
        "Timeout": instruction.timeout,
        "StartPeriod": instruction.start_period,
        "StartInterval": instruction.start_interval,
        "Retries": instruction.retries,
    }
    return config.with_(healthcheck={"Test": test} | {name: value for name, value in numbers.items() if value})


_CHANGES: dict[type[ins.Instruction], Callable[[ImageConfig, Any], ImageConfig]] = {
    ins.Env: _env,
    ins.Label: lambda config, i: config.with_(labels=config.labels | dict(i.pairs)),
    ins.Cmd: lambda config, i: config.with_(cmd=argv(i, config) or None),
    ins.Shell: lambda config, i: config.with_(shell=i.argv),
    ins.User: lambda config, i: config.with_(user=i.user),
    ins.Workdir: lambda config, i: config.with_(workdir=i.path),
    ins.Volume: lambda config, i: config.with_(volumes=sorted({*config.volumes, *i.paths})),
    ins.Expose: lambda config, i: config.with_(exposed_ports=sorted({*config.exposed_ports, *i.ports})),
    ins.StopSignal: lambda config, i: config.with_(stop_signal=i.signal),
    ins.Maintainer: lambda config, i: config.with_(author=i.name),
    ins.OnBuild: lambda config, i: config.with_(onbuild=[*config.onbuild, i.trigger]),
    ins.Healthcheck: _healthcheck,
}
