"""What is said of an ImageBuild's webhook, beside what is said of its image. Pure."""

from __future__ import annotations

import dataclasses
from typing import Final

from strata_operator import conditions
from strata_operator.imagebuild import questions, status
from strata_operator.imagebuild.case import Case, Decision
from strata_operator.imagebuild.questions import Steps

_AGAIN: Final = 60.0


def told(case: Case, decision: Decision) -> Steps[Decision]:
    """`decision`, which says nothing of a webhook, with the reason why deliveries are refused, if they are."""
    if not case.wanted.webhook:
        return decision
    problem: questions.Deaf | None = yield questions.Webhook(case.wanted.webhook)
    if problem is None:
        return decision
    before = case.seen.body.get("status") or {}
    wanted = [conditions.Condition(status.WEBHOOK, conditions.FALSE, problem.reason, problem.message)]
    extra = conditions.merge(before.get("conditions") or (), wanted, generation=case.seen.generation, now=case.now)
    written = dict(decision.status or before)
    written["conditions"] = [c for c in written.get("conditions", []) if c.get("type") != status.WEBHOOK] + extra
    sooner = min(decision.look_again or _AGAIN, _AGAIN)
    return dataclasses.replace(decision, status=None if written == before else written, look_again=sooner)
