"""An attempt: its Job, and the rung that the cluster admits it on. Pure."""

from __future__ import annotations

from strata_builder import contract
from strata_operator import names
from strata_operator.imagebuild import attempts, endings, isolation, questions, state, verdicts
from strata_operator.imagebuild.case import Case, Decision
from strata_operator.imagebuild.conclusion import conclude
from strata_operator.imagebuild.contents import Content
from strata_operator.imagebuild.questions import Steps
from strata_operator.imagebuild.target import Target
from strata_operator.imagebuild.waiting import progress, wait

_SOON = 2.0


def admitted(
    case: Case, target: Target, content: Content, rungs: tuple[str, ...], *, attempt: int, because: str = ""
) -> Steps[Decision]:
    """Start `attempt` on the first rung that is admitted. Only Pod Security is a reason to try the next one."""
    refusal: contract.Failure | None = None
    trying = case.change(attempt=attempt)
    for rung in rungs:
        planned, answer = yield from _planned(trying, target, content, rung)
        if answer is None:
            return start(trying, target, planned, because=because)
        if isinstance(answer, questions.NameTaken):
            return _renumbered(case, answer)
        refusal = answer
        if refusal.reason != "PodRejected":
            break
    if refusal is None:
        raise ValueError("no rung to try")
    return endings.fail(case, refusal, ran=False)


def job(case: Case, target: Target, content: Content, rung: str, *, copied: bool = False) -> questions.Job:
    """The Job of the current build's attempt on a rung. Its name tells all of these apart."""
    current = case.current
    if current is None:
        raise ValueError("nothing is wanted")
    number, attempt = str(current.number), str(current.attempt)
    way = f"{rung}-copied" if copied else rung
    digest = names.short_hash(
        case.seen.uid, number, str(current.generation), content.inputs, "linux", attempt, way, length=8
    )
    name = names.derived("sib", case.seen.key.name, f"{number}-{attempt}-{digest}")
    return questions.Job(
        name=name,
        number=current.number,
        attempt=current.attempt,
        generation=current.generation,
        inputs=content.inputs,
        isolation=rung,
        repository=target.repository,
        commit=content.commit,
        ref=content.ref,
        no_cache=current.no_cache,
        args=content.args,
        copied=copied,
    )


def start(case: Case, target: Target, planned: questions.Job, *, because: str = "") -> Decision:
    """Write who is to run, then make its Job. `because` says why it takes the place of another one."""
    tag = attempts.log_tag(case.seen.uid)
    changed = case.change(
        phase=state.STARTING,
        job=planned.name,
        log=f"{target.view.push}/{target.repository}:{tag}" if case.wanted.keep_logs else "",
        isolation=planned.isolation,
        destination=target.destination,
        start_time=case.current.start_time if case.current and case.current.job and case.current.active else case.now,
        completion_time=None,
        next_time=None,
        checks=case.current.checks if case.current and case.current.job else 0,  # a gate that opens has healed
    )
    text = f"build {planned.number}, attempt {planned.attempt} is starting ({planned.isolation})"
    text += f": {because}" if because else cause(case.current)
    return conclude(changed, progress(changed, "Building", text), start=planned, look_again=_SOON)


def _planned(
    case: Case, target: Target, content: Content, rung: str
) -> Steps[tuple[questions.Job, contract.Failure | questions.NameTaken | None]]:
    """The Job of a rung, and why it cannot be made. What the builder is carried by shows only in place."""
    copied = rung == isolation.IN_PLACE and not (yield questions.ImageVolumes())
    planned = job(case, target, content, rung, copied=copied)
    answer = yield questions.Admission(planned)
    if isinstance(answer, questions.NoImageVolumes):
        yield questions.Remember(questions.ImageVolumes(), answer=False)
        planned = job(case, target, content, rung, copied=True)
        answer = yield questions.Admission(planned)
    return planned, answer


def _renumbered(case: Case, taken: questions.NameTaken) -> Decision:
    """The name is made of the number, among others: the next number has another one. Nothing of others is touched."""
    current = case.current
    number = current.number if current else 0
    changed = case.change(number=number + 1, attempt=0, phase=state.PENDING, job="")
    text = f"{taken.message}; the build goes on as number {number + 1}"
    return wait(changed, verdicts.Waiting("Building", text), look_again=_SOON, clear=True)


def cause(current: state.Current | None) -> str:
    return f": {current.cause}" if current and current.cause else ""
