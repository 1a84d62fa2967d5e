"""Whether the cluster would take what an attempt needs: dry runs, which leave nothing."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from strata_operator import kube, names
from strata_operator.imagebuild import objects, refusals

_CONTROLLED: Final = "ownerReferences"


class Client(Protocol):
    """The part of `kube.Kube` that is needed."""

    async def create(
        self, resource: names.Resource, body: kube.Object, *, dry_run: bool = False
    ) -> kube.Object | kube.AlreadyExists: ...


async def ask(client: Client, made: objects.Made) -> bool:
    """Whether a Job of that name is there already.

    Raises kube.KubeError with what is refused: a quota may count any of the objects; of several refusals the first in
    the order of creation.
    """
    asked = [client.create(resource, body, dry_run=True) for resource, body in objects.for_admission(made)]
    answers = await asyncio.gather(*asked, _ask_pod(client, made.job), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return any(isinstance(a, kube.AlreadyExists) and a.name == made.job["metadata"]["name"] for a in answers)


async def _ask_pod(client: Client, job: kube.Object) -> None:
    """A policy may refuse a pod that nobody controls; another one, Kueue's, looks for the controller, which is no more than
    a name yet. What only one of the two forms is refused for is left to the pod itself: an event of its Job tells it."""
    pod = objects.pod_for_admission(job)
    try:
        await client.create(names.PODS, pod, dry_run=True)
    except kube.KubeError as refused:
        if not (by := refusals.refused_by(refused.message)):
            raise
        if await _refuses_anyway(client, pod, by):
            raise


async def _refuses_anyway(client: Client, pod: kube.Object, by: str) -> bool:
    """Whether the same policy refuses the pod without a controller, too. Raises kube.KubeError if no policy does, but the
    cluster itself, which had not come to its turn before."""
    meta = {name: value for name, value in pod["metadata"].items() if name != _CONTROLLED}
    try:
        await client.create(names.PODS, pod | {"metadata": meta}, dry_run=True)
    except kube.KubeError as refused:
        if not (again := refusals.refused_by(refused.message)):
            raise
        return again == by
    return False
