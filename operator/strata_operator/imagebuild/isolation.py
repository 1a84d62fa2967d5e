"""Which rung a build runs on: the weakest pod that can do it, the strongest isolation that is admitted. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strata_builder import contract, dockerfile, errors
from strata_builder.dockerfile import instructions, stages
from strata_operator import names

LAYERS, IN_PLACE, USER_NS = contract.ISOLATIONS
#: Rungs that a Pod Security level admits; another value of the label, or none, means that the cluster's default holds,
#: which only a dry run tells.
_ADMITTED: Final = {
    "restricted": frozenset({LAYERS}),
    "baseline": frozenset({LAYERS, IN_PLACE}),
    "privileged": frozenset({LAYERS, IN_PLACE, USER_NS}),
}


def rungs(
    wanted: str, *, runs: bool | None, network: str, level: str | None, user_namespaces: bool
) -> tuple[str, ...] | contract.Failure:
    """The rungs to try, the best first.

    `runs` tells whether steps run, None = not known; `level` is the namespace's Pod Security label.
    """
    if wanted != "Auto":
        return _explicit(wanted, runs=runs)
    if runs is False:
        return (LAYERS,)
    admitted = _admitted(level)
    found = [USER_NS] if user_namespaces and USER_NS in admitted else []
    found += [IN_PLACE] if network != "None" and IN_PLACE in admitted else []
    if runs is None:
        found.append(LAYERS)
    return tuple(found) or _none(network, level, user_namespaces=user_namespaces)


def _explicit(wanted: str, *, runs: bool | None) -> tuple[str, ...] | contract.Failure:
    if wanted == LAYERS and runs:
        return contract.Failure(
            "InvalidSpec",
            "the Dockerfile has RUN steps, and spec.isolation Layers runs none",
            hint="set spec.isolation to Auto, InPlace or UserNS, or remove the RUN steps",
        )
    return (wanted,)


def _none(network: str, level: str | None, *, user_namespaces: bool) -> contract.Failure:
    needs = "privileged" if network == "None" else "baseline"
    text = "the Dockerfile has RUN steps, and this namespace admits no pod that can run them"
    if not user_namespaces and USER_NS in _admitted(level):
        return contract.Failure(
            "PodRejected",
            "the nodes give no user namespaces, without which no step runs with spec.network None",
            hint="remove spec.network, or let nodes support `hostUsers: false` (containerd 2, runc 1.2, Linux 6.3)",
        )
    return contract.Failure(
        "PodRejected",
        f"{text}: its label {names.LABEL_POD_SECURITY} is {level}",
        hint=f"build in a namespace with {names.LABEL_POD_SECURITY}={needs}, or a Dockerfile without RUN",
    )


def _admitted(level: str | None) -> frozenset[str]:
    return _ADMITTED.get(level or "", frozenset(contract.ISOLATIONS))


def runs(text: bytes, target: str) -> bool | contract.Failure:
    """Whether building `target` of this Dockerfile runs anything; ONBUILD triggers of bases are not seen here."""
    try:
        parsed = dockerfile.parse(text)
        goal = stages.find_stage(parsed, target) if target else parsed.stages[-1]
        if goal is None:
            raise errors.DockerfileInvalid(f"there is no stage {target!r}", hint="see spec.target")
        return any(isinstance(i, instructions.Run) for stage in _needed(parsed, goal) for i in stage.instructions)
    except errors.BuildError as e:
        return failure(e)


def failure(error: errors.BuildError) -> contract.Failure:
    """An error of the builder's tree as the contract has it."""
    place = error.place
    return contract.Failure(
        error.reason,
        str(errors.BuildError(error.message, place=place)),
        retryable=error.retryable,
        file=place.file if place else "",
        line=place.line if place else 0,
        end_line=place.end_line if place else 0,
        hint=error.hint,
    )


def _needed(parsed: stages.Dockerfile, goal: stages.Stage) -> Iterator[stages.Stage]:
    """`goal` and every stage that it builds upon or copies from."""
    waiting, seen = [goal], set()
    while waiting:
        stage = waiting.pop()
        if stage.index in seen:
            continue
        seen.add(stage.index)
        yield stage
        base = stages.find_base(parsed, stage.from_.image, stage.index)
        named = (stages.find_stage(parsed, name, before=stage.index, asking=asking) for name, asking in _read_by(stage))
        waiting += [found for found in (base, *named) if found]


def _read_by(stage: stages.Stage) -> Iterator[tuple[str, instructions.Instruction]]:
    """Stages or images that steps of `stage` read, and where they say so; a name with a variable is taken for an image."""
    for instruction in stage.instructions:
        if isinstance(instruction, instructions.Copy) and instruction.from_:
            yield instruction.from_, instruction
        if isinstance(instruction, instructions.Run):
            yield from ((mount.from_, instruction) for mount in instruction.mounts if mount.from_)
