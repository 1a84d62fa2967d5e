"""The ImageBuild kind: a Dockerfile and its files become an image in a Registry, again whenever the inputs change.

::

    observe.py, destinations.py (the cache) -> case.Observed
    decide.py  pure: Observed, now -> case.Decision; a generator that yields questions (questions.py) for what costs I/O
      spec, trimming, state, inputs, contents, wanting  what is wanted, what was, what is different
      starting, ladder, isolation, queueing, lines, limits  the gates before a Job
      launching, waiting                            the Job that follows, and what is said until then
      kueue                                         Jobs that Kueue lets go and takes back
      following, outcome, beginning, podend, refusals  what a Job has come to, or why its pod does not start
      podstatus, verdicts, retry, replacing         how that is read and said, and what follows from it
      endings, image, settling, status, history, tags  what is said and kept of it
      triggers/bases, chains                        base images that have moved, and who makes them
    conflicts.py                                    whom to wake when a tag becomes free
    answers.py (I/O) -> the answers: repositories, remote (registry), triggers/poller (git), the API server
      triggers/pools, poller, asking, smarthttp, git  one look at a source for all that build from it, with manners (hosts)
      triggers/basewatch -> basepoller -> baselook  one poller of all base images; baseplaces says where and as whom,
                                                      waves in which order its news is told
      admission                                     dry runs: whether the cluster would take an attempt
      seats                                         the places of queueing, given to a cluster's ImageBuilds
    objects.py, pod.py, mounts.py, request.py       the Job and its ConfigMaps as dicts, pure
    reconcile.py                                    applies a decision once, the status first
    orphans.py                                      what is left of an ImageBuild that is gone
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from strata_operator import cache, controller, names
from strata_operator.imagebuild import conflicts, observe, orphans, reconcile, trimming
from strata_operator.imagebuild.triggers import basepoller, poller, waves

#: Resyncs after which every ImageBuild was looked at, changed or not: an hour.
_AGAIN: Final = 6


def controllers(frame: controller.Frame) -> Sequence[controller.Controller]:
    """The queue of this kind and what it watches."""
    work = reconcile.Reconciler(frame)
    owned = controller.owner(reconcile.KIND, names.IMAGEBUILDS)
    return (
        controller.Controller(
            kind=reconcile.KIND,
            reconcile=work.reconcile,
            lane=observe.lane(frame),
            watches=(
                controller.Watch(
                    names.IMAGEBUILDS,
                    controller.itself(reconcile.KIND),
                    trim=trimming.trim,
                    packed=True,
                    indexes=observe.indexes(),
                    again=_AGAIN,
                ),
                controller.Watch(names.IMAGEBUILDS, conflicts.wakes(frame), trim=trimming.trim, again=0),
                controller.Watch(
                    names.JOBS, owned, selector=names.OWNED, packed=True, indexes=orphans.indexes(), again=0
                ),
                controller.Watch(
                    names.PODS,
                    observe.wakes_of_pod,
                    selector=names.OWNED,
                    packed=True,
                    indexes=observe.pod_indexes(),
                    again=0,
                ),
                controller.Watch(
                    names.CONFIGMAPS,
                    lambda _: (),
                    selector=names.OWNED,
                    trim=cache.without_contents,
                    indexes=orphans.indexes(),
                    again=0,
                ),
                controller.Watch(names.REGISTRIES, observe.builds_of_registry(frame), again=0),
                controller.Watch(names.NAMESPACES, observe.builds_of_namespace(frame), again=0),
            ),
            close=work.watch.close,
        ),
        controller.Controller(kind=basepoller.KIND, reconcile=work.watch.poller.poll, workers=basepoller.WORKERS),
        controller.Controller(kind=waves.KIND, reconcile=work.watch.waves.release, workers=1),
        controller.Controller(kind=poller.KIND, reconcile=work.poller.poll, workers=frame.settings.polls_at_once),
    )
