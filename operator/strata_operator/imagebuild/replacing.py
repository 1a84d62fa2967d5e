"""A pod that cannot work as it was made: another one takes its place in the same attempt. Pure.

What is learnt of the cluster on the way is remembered, so that the next build does not try again what cannot be. Only
containers that never run user code are believed, so that no build can lower the isolation of others.
"""

from __future__ import annotations

from strata_builder import contract
from strata_operator.imagebuild import contents, endings, isolation, ladder, launching, questions, refusals, verdicts
from strata_operator.imagebuild.case import Case, Decision
from strata_operator.imagebuild.conclusion import conclude
from strata_operator.imagebuild.questions import Steps
from strata_operator.imagebuild.target import Target
from strata_operator.imagebuild.waiting import progress

_AGAIN = 10.0


def replace(
    case: Case, aim: contents.Aim, verdict: verdicts.NeedsSandbox | verdicts.NoUserNamespace | verdicts.NoImageVolume
) -> Steps[Decision]:
    """The pod that follows, or why none can."""
    if isinstance(verdict, verdicts.NeedsSandbox):
        return (yield from _sandbox(case, aim, verdict))
    if isinstance(verdict, verdicts.NoUserNamespace):
        return (yield from _without_user_namespace(case, aim, verdict))
    yield questions.Remember(questions.ImageVolumes(), answer=False)
    if (yield questions.ImageVolumes()):
        hint = "let the chart's builds.imageVolumes be Auto or Never, or the node support images as volumes"
        return endings.fail(case, contract.Failure("PodRejected", verdict.message, hint=hint), ran=True)
    return (yield from _instead(case, aim, (isolation.IN_PLACE,), verdict.message))


def _sandbox(case: Case, aim: contents.Aim, verdict: verdicts.NeedsSandbox) -> Steps[Decision]:
    """A Layers pod found a RUN."""
    if case.wanted.isolation == isolation.LAYERS:
        refusal = isolation.rungs(
            isolation.LAYERS, runs=True, network=case.wanted.network, level=None, user_namespaces=False
        )
        return endings.fail(case, _failure(refusal, verdict.message), ran=True)
    rungs = yield from ladder.candidates(case, runs=True)
    if isinstance(rungs, contract.Failure):
        return endings.fail(case, rungs, ran=False)
    return (yield from _instead(case, aim, rungs, ""))


def _without_user_namespace(case: Case, aim: contents.Aim, verdict: verdicts.NoUserNamespace) -> Steps[Decision]:
    """The runtime made a pod in the machine's own user namespace although it was told not to: no step has run in it."""
    yield questions.Remember(questions.UserNamespaces(), answer=False)
    text = f"node {verdict.node} gave the pod no user namespace although it has hostUsers: false"
    if case.wanted.isolation != "Auto":
        hint = f"the node needs {refusals.USER_NAMESPACES}; or set spec.isolation to Auto or InPlace"
        return endings.fail(case, contract.Failure("PodRejected", text, hint=hint), ran=True)
    runs = yield from ladder.known_runs(case)
    if isinstance(runs, contract.Failure):
        return endings.fail(case, runs, ran=True)
    rungs = isolation.rungs(
        "Auto", runs=runs, network=case.wanted.network, level=case.seen.pod_security, user_namespaces=False
    )
    if isinstance(rungs, contract.Failure):
        return endings.fail(case, rungs, ran=True)
    return (yield from _instead(case, aim, rungs, text))


def _instead(case: Case, aim: contents.Aim, rungs: tuple[str, ...], because: str) -> Steps[Decision]:
    """Another pod in the same attempt, on the first of `rungs` that is admitted."""
    current = case.current
    if current is None:
        raise ValueError("nothing runs")
    content = None
    if isinstance(aim, Target):
        content = yield from contents.content(case, aim, contents.known(case))
    if isinstance(aim, Target) and isinstance(content, contents.Content):
        return (yield from launching.admitted(case, aim, content, rungs, attempt=current.attempt, because=because))
    waiting = verdicts.Waiting("RegistryNotReady", "another pod follows when its inputs are there")
    if isinstance(aim, verdicts.Waiting):
        waiting = aim
    said = progress(case, waiting.reason, waiting.message)
    return conclude(case, said, look_again=_AGAIN)


def _failure(refusal: tuple[str, ...] | contract.Failure, text: str) -> contract.Failure:
    return refusal if isinstance(refusal, contract.Failure) else contract.Failure("InvalidSpec", text)
