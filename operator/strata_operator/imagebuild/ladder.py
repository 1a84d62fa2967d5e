"""Which rungs a build may take, and what is known of its steps before a pod has seen them. Pure."""

from __future__ import annotations

from strata_builder import contract
from strata_operator.imagebuild import isolation, questions
from strata_operator.imagebuild.case import Case
from strata_operator.imagebuild.questions import Steps


def rungs(case: Case) -> Steps[tuple[str, ...] | contract.Failure]:
    runs = yield from known_runs(case)
    if isinstance(runs, contract.Failure):
        return runs
    return (yield from candidates(case, runs=runs))


def candidates(case: Case, *, runs: bool | None) -> Steps[tuple[str, ...] | contract.Failure]:
    """The rungs to try, the best first; the nodes are asked only where it matters."""
    wanted = case.wanted
    able = wanted.isolation == "Auto" and runs is not False and (yield questions.UserNamespaces())
    return isolation.rungs(
        wanted.isolation,
        runs=runs,
        network=wanted.network,
        level=case.seen.pod_security,
        user_namespaces=bool(able),
    )


def known_runs(case: Case) -> Steps[bool | contract.Failure | None]:
    """Whether steps run: read from an inline Dockerfile, else as the last build reported, else not known."""
    if case.wanted.dockerfile_inline:
        answer: bool | contract.Failure = yield questions.Runs(case.wanted.target)
        return answer
    current, last = case.current, case.was.last_success
    if current and current.attempt and (current.isolation, current.result) == (isolation.LAYERS, "PodRejected"):
        return True  # a Layers pod of this very build found a RUN
    return False if last and last.isolation == isolation.LAYERS else None
