"""What of a plan is left to do, as far as records tell: which RUNs, and which layers those need. Pure."""

from __future__ import annotations

from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import keys, records, steps
from strata_builder.oci.image import LayerRef
from strata_builder.pod.taint import At


def needed(plan: steps.Plan, keyed: keys.Keyed, known: records.Records) -> tuple[int, ...]:
    """The stages that a build looks at: the target, what it is based on, and what a step without a record reads."""
    todo, found = [plan.target], set[int]()
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += [
                origin.index for origin in _origins(plan, keyed, known, index) if isinstance(origin, steps.FromStage)
            ]
    return tuple(sorted(found))


def keys_to_make(plan: steps.Plan, keyed: keys.Keyed, known: records.Records) -> frozenset[str]:
    """The definition keys of the steps that a build does, each in its turn."""
    found = (keyed.steps.get((i, p), "") for i in needed(plan, keyed, known) for p in range(len(plan.stages[i].steps)))
    return frozenset(key for key in found if key and key not in known.steps)


def adds(plan: steps.Plan, keyed: keys.Keyed, known: records.Records) -> tuple[steps.Step, ...]:
    """The ADDs among them."""
    return tuple(
        step
        for index in needed(plan, keyed, known)
        for position, step in enumerate(plan.stages[index].steps)
        if isinstance(step.instruction, ins.Add) and keyed.steps[index, position] not in known.steps
    )


def missing_runs(plan: steps.Plan, keyed: keys.Keyed, known: records.Records) -> tuple[At, ...]:
    return tuple(
        (index, position)
        for index in needed(plan, keyed, known)
        for position, step in enumerate(plan.stages[index].steps)
        if isinstance(step.instruction, ins.Run) and keyed.steps[index, position] not in known.steps
    )


def layers(plan: steps.Plan, keyed: keys.Keyed, known: records.Records) -> tuple[LayerRef, ...]:
    """What steps without a record stand on or copy from, in the order of the plan: worth to be brought early."""
    found: dict[str, LayerRef] = {}
    for index in needed(plan, keyed, known):
        stack: list[LayerRef] = _image_layers(plan.stages[index].base)
        for position, step in enumerate(plan.stages[index].steps):
            if not step.touches_files:
                continue
            record = known.steps.get(keyed.steps[index, position])
            if record is None:
                mounted = [layer for _, origin in step.mounts for layer in _image_layers(origin)]
                for layer in (*stack, *_image_layers(step.origin), *mounted):
                    found.setdefault(layer.descriptor.digest, layer)
            elif record.layer is not None:
                stack.append(record.layer)
    return tuple(found.values())


def _origins(plan: steps.Plan, keyed: keys.Keyed, known: records.Records, index: int) -> list[steps.Origin | None]:
    stage = plan.stages[index]
    found: list[steps.Origin | None] = [stage.base]
    for position, step in enumerate(stage.steps):
        if step.touches_files and keyed.steps[index, position] not in known.steps:
            found += [step.origin, *(origin for _, origin in step.mounts)]
    return found


def _image_layers(origin: steps.Origin | None) -> list[LayerRef]:
    return list(origin.base.image.layers) if isinstance(origin, steps.FromImage) else []
