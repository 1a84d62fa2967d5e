"""What the status shows of each step, from what push found itself and what build says. Pure."""

from __future__ import annotations

from strata_builder import contract
from strata_builder.engine import keys, steps
from strata_builder.pod import planfile


def merged(
    plan: steps.Plan, keyed: keys.Keyed, rows: tuple[contract.Step, ...], result: planfile.Result | None
) -> tuple[contract.Step, ...]:
    """Lines, instructions and sizes as found here; of build's word only times and hits."""
    if result is None:
        return rows
    ours, theirs = ({(row.line, row.instruction): row for row in table} for table in (rows, result.steps))
    made, merged = result.records(), []
    for index, stage in sorted(plan.stages.items()):
        for position, step in enumerate(stage.steps):
            name = (step.place.line, step.created_by)
            if (row := theirs.get(name)) is not None:
                record = made.get(keyed.steps.get((index, position), ""))
                size = record.layer.descriptor.size if record and record.layer else 0
                merged.append(contract.Step(*name, row.cached, row.reason[:64], max(0.0, row.seconds), size))
            elif name in ours:
                merged.append(ours[name])
    return tuple(merged)
