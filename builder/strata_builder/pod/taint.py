"""Under which key a layer may be kept that was made where the user's code had run. Pure.

A RUN may change what the same container makes afterwards: other stages' layers, whatever their own keys say. So such a
layer is kept under a key that names every RUN of the plan that comes before. A step whose own key contains all of them
already (most do: keys chain) keeps its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import digests, keys, records, steps
from strata_builder.frozen import replace

At = tuple[int, int]  # stage, step
_NONE: Final = records.Record(None, -1)


def contained(plan: steps.Plan) -> dict[At, frozenset[At]]:
    """The RUNs that the definition key of each step contains, itself among them."""
    found: dict[At, frozenset[At]] = {}
    ends: dict[int, frozenset[At]] = {}
    for index in sorted(plan.stages):
        stage = plan.stages[index]
        runs = ends[stage.base.index] if isinstance(stage.base, steps.FromStage) else frozenset[At]()
        for position, step in enumerate(stage.steps):
            for origin in (step.origin, *(origin for _, origin in step.mounts)):
                if isinstance(origin, steps.FromStage):
                    runs |= ends[origin.index]
            if isinstance(step.instruction, ins.Run):
                runs |= {(index, position)}
            found[index, position] = runs
        ends[index] = runs
    return found


def runs(plan: steps.Plan) -> frozenset[At]:
    return frozenset(
        (index, position)
        for index, stage in plan.stages.items()
        for position, step in enumerate(stage.steps)
        if isinstance(step.instruction, ins.Run)
    )


def keys_to_keep(plan: steps.Plan, keyed: keys.Keyed) -> dict[str, str]:
    """For each definition key the one under which its layer may be kept, if it was made beside the user's code, one
    stage after another in the order of the plan."""
    inside, all_runs = contained(plan), runs(plan)
    return {
        key: _with(key, sorted(keyed.steps[run] for run in all_runs - inside.get(at, frozenset()) if run < at))
        for at, key in keyed.steps.items()
    }


def _with(key: str, outside: list[str]) -> str:
    return digests.key("beside", key, outside) if outside else key


def known(found: records.Records, plan: steps.Plan, keyed: keys.Keyed) -> records.Records:
    """`found`, with what was kept under such keys also under the definition keys of this very plan."""
    kept = keys_to_keep(plan, keyed)
    extra = {key: found.steps[other] for key, other in kept.items() if key not in found.steps and other in found.steps}
    return replace(found, steps={**found.steps, **extra})


def found_beside(found: records.Records, kept: Mapping[str, str]) -> frozenset[str]:
    """The definition keys that `known` has only lent to what was kept under another."""
    return frozenset(
        key for key, other in kept.items() if key != other and found.steps.get(other, _NONE) == found.steps.get(key)
    )


def to_keep(
    used: Mapping[str, records.Record], beside: frozenset[str], kept: Mapping[str, str]
) -> dict[str, records.Record]:
    """`used` with the keys in `beside`, those that build made or has found so, replaced by what `keys_to_keep` says of
    them."""
    return {(kept.get(key, key) if key in beside else key): record for key, record in used.items()}
