"""Whether a cluster with rules of its own would take an attempt, asked before anything of it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from strata_operator import kube, names
from strata_operator.imagebuild import admission, objects

pytestmark = pytest.mark.asyncio
JOB = "sib-web-1-1-0badcafe"
Rule = Callable[[dict[str, Any]], kube.KubeError | None]


def looks_for_the_job(pod: dict[str, Any]) -> kube.KubeError | None:
    """As Kueue's webhook for pods does."""
    if not pod["metadata"].get("ownerReferences"):
        return None
    said = f'admission webhook "mpod.kb.io" denied the request: Job.batch "{JOB}" not found'
    return kube.NotFound(404, "NotFound", said)


def wants_no_bare_pod(pod: dict[str, Any]) -> kube.KubeError | None:
    if pod["metadata"].get("ownerReferences"):
        return None
    said = "ValidatingAdmissionPolicy 'no-bare-pods' with binding 'all' denied request: nobody controls it"
    return kube.Invalid(422, "Invalid", f'pods "{JOB}-check" is forbidden: {said}')


def wants_no_pod_of_it(_pod: dict[str, Any]) -> kube.KubeError:
    said = 'admission webhook "images.example.org" denied the request: the image is not signed'
    return kube.Forbidden(403, "Forbidden", said)


def has_no_quota(_pod: dict[str, Any]) -> kube.KubeError:
    return kube.Forbidden(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: few, used: pods=1, limited: pods=1')


def wants_no_user_namespace(_pod: dict[str, Any]) -> kube.KubeError:
    return kube.Forbidden(403, "Forbidden", 'pods "x" is forbidden: violates PodSecurity "baseline:latest": hostUsers')


class Cluster:
    """Asks its rules about each pod, in their order."""

    def __init__(self, *rules: Rule, job_is_there: bool = False) -> None:
        self.rules, self.job_is_there = rules, job_is_there
        self.asked: list[names.Resource] = []

    async def create(
        self, resource: names.Resource, body: kube.Object, *, dry_run: bool = False
    ) -> kube.Object | kube.AlreadyExists:
        assert dry_run, "nothing is made"
        self.asked.append(resource)
        if resource == names.PODS:
            for refused in filter(None, (rule(body) for rule in self.rules)):
                raise refused
        if resource == names.JOBS and self.job_is_there:
            return kube.AlreadyExists("team", JOB)
        return body


def made() -> objects.Made:
    """An attempt with its request."""
    owner = {"apiVersion": "strata.build/v1alpha1", "kind": "ImageBuild", "name": "web", "uid": "1"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
    meta = {"name": JOB, "namespace": "team", "ownerReferences": [owner]}
    job = {"metadata": meta, "spec": {"template": template}}
    return objects.Made(({"metadata": {"name": "request", "namespace": "team"}},), job)


@pytest.mark.parametrize("there", [True, False])
async def test_what_nobody_refuses_is_asked_for_once_and_a_job_of_that_name_is_told_of(there):
    cluster = Cluster(job_is_there=there)
    assert await admission.ask(cluster, made()) is there
    assert cluster.asked == [names.CONFIGMAPS, names.JOBS, names.PODS]


@pytest.mark.parametrize(
    "rules",
    [
        [looks_for_the_job],
        [wants_no_bare_pod],
        [looks_for_the_job, wants_no_bare_pod],
        [wants_no_bare_pod, looks_for_the_job],
    ],
)
async def test_who_refuses_the_stand_in_for_what_it_is_does_not_refuse_the_builder_pod(rules):
    assert await admission.ask(Cluster(*rules), made()) is False


@pytest.mark.parametrize("before", [[], [looks_for_the_job], [wants_no_bare_pod]])
@pytest.mark.parametrize("rule", [has_no_quota, wants_no_user_namespace])
async def test_what_the_cluster_itself_refuses_is_told_whoever_has_been_asked_before(rule, before):
    with pytest.raises(kube.Forbidden) as refused:
        await admission.ask(Cluster(*before, rule), made())
    assert refused.value.message == rule({}).message


@pytest.mark.parametrize("others", [[], [wants_no_bare_pod]])
async def test_what_a_policy_refuses_of_any_pod_is_told(others):
    with pytest.raises(kube.Forbidden, match="the image is not signed"):
        await admission.ask(Cluster(wants_no_pod_of_it, *others), made())


async def test_an_answer_that_is_no_refusal_is_no_reason_to_ask_again():
    def away(_pod: dict[str, Any]) -> kube.KubeError:
        return kube.KubeError(500, "InternalError", 'failed calling webhook "mpod.kb.io": connection refused')

    cluster = Cluster(away)
    with pytest.raises(kube.KubeError, match="connection refused"):
        await admission.ask(cluster, made())
    assert cluster.asked.count(names.PODS) == 1
