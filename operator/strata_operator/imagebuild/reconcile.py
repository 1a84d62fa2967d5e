"""One look at an ImageBuild: observe, decide, apply once. The order of the writes is what makes a kill harmless.

The status is written first, with the resourceVersion that was read: who loses that race changes nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any, Final

from strata_operator import addresses, cache, controller, kube, names
from strata_operator.imagebuild import (
    answers,
    decide,
    events,
    hints,
    memory,
    objects,
    observe,
    orphans,
    questions,
    seats,
    transitions,
)
from strata_operator.imagebuild.case import Decision, Ended, Observed
from strata_operator.imagebuild.triggers import asking, basewatch, poller

log = logging.getLogger(__name__)

KIND = "imagebuild"
#: Seconds: a build that ended so shortly before this process began may not have been told by the one before.
_TELL_AGAIN: Final = 300.0


class Reconciler:
    """Reconciles ImageBuilds. `clock` gives Unix seconds."""

    def __init__(self, frame: controller.Frame, *, clock: Callable[[], float] = time.time) -> None:
        self._frame = frame
        self._clock = clock
        self._seats = seats.Seats(frame, KIND)
        known = memory.Memory(clock)
        self.watch = basewatch.Watch(frame, known, wake=lambda key: frame.enqueue(KIND, key))
        asker = asking.Asker(frame, addresses.of_users(frame.settings.poll_allowed_cidrs, os.environ))
        self.poller = poller.Poller(frame, asker, wake=lambda key: frame.enqueue(KIND, key), clock=clock)
        self._answers = answers.Answers(frame, self._seats, known, self.poller, self.watch)
        frame.hints.source = hints.for_source(self.poller)
        frame.hints.base = self.watch.poller.now
        frame.hints.deaf = hints.for_deaf(known, lambda key: frame.enqueue(KIND, key))
        self._orphans = orphans.Orphans(frame)
        self._restored = False
        self._restoring = asyncio.Lock()
        self._met: dict[names.Key, str] = {}  # uids of what this process has looked at
        self._made: dict[names.Key, str] = {}  # names of the newest Jobs that this process has made

    async def reconcile(self, key: names.Key) -> float | None:
        """Bring one ImageBuild nearer to its spec; returns seconds until the next look."""
        await self._restore()
        body = self._frame.cache[names.IMAGEBUILDS].get(*key)
        if body is None:
            self._met.pop(key, None)
            self._made.pop(key, None)
            self._seats.leave(key)
            self.watch.drop(key)
            self.poller.watch(key, None)
            return await self._orphans.sweep(key, "")
        self.watch.note(body)
        self._meet(key, body)
        seen = observe.observe(self._frame, body, made=self._made.get(key, ""))
        if seen.namespace is None:
            return cache.UNSEEN_SECONDS
        try:
            decision = await self._decided(seen)
        except BaseException:
            if not observe.is_active(self._frame, body):
                self._seats.leave(key)  # who cannot start must not keep others from it
            raise
        finally:
            self._seats.measure()
        await self._apply(seen, decision)
        self.poller.watch(key, decision.watch)
        self._seats.settle(seen, decision)
        waits = (decision.look_again, await self._orphans.sweep(key, seen.uid))
        return min((wait for wait in waits if wait is not None), default=None)

    def _meet(self, key: names.Key, body: kube.Object) -> None:
        """At the first look at an object: tell what the operator that acted before may have had no time to tell."""
        if self._met.get(key) == cache.uid(body):
            return
        self._met[key] = cache.uid(body)
        notice = transitions.of(body, body.get("status") or {})
        if notice is not None and transitions.ended_since(notice, self._clock() - _TELL_AGAIN):
            self._frame.notifications.tell([notice])

    async def _restore(self) -> None:
        """Once, when the cache is whole: who has a place already, who waits for one, whose bases are watched."""
        if self._restored:
            return
        async with self._restoring:
            if not self._restored:
                self._seats.restore()
                await self.watch.restore()
                self._restored = True

    async def _decided(self, seen: Observed) -> Decision:
        steps = decide.decide(seen, self._clock())
        answer: Any = None
        watches = False
        while True:
            try:
                question = steps.send(answer)
            except StopIteration as e:
                decision: Decision = e.value
                if not watches:
                    self.watch.poller.forget(seen.key)
                return decision
            watches = watches or isinstance(question, questions.BaseImages)
            answer = await self._answers.answer(seen, question)

    async def _apply(self, seen: Observed, decision: Decision) -> None:
        if decision.status is not None:
            await self._frame.kube.patch_status(names.IMAGEBUILDS, seen.body, decision.status)
            await self._tell(seen, decision)
        namespace = seen.key.namespace
        for ref in decision.end_jobs:
            log.info("ending Job %s", ref.name)
            await self._frame.kube.delete(names.JOBS, namespace, ref.name, uid=ref.uid)
        for name in decision.expire_jobs:
            await self._expire(namespace, name)
        for ref in decision.drop_config_maps:
            await self._frame.kube.delete(names.CONFIGMAPS, namespace, ref.name, uid=ref.uid)
        if decision.start is not None:
            await self._start(seen, decision.start)

    async def _tell(self, seen: Observed, decision: Decision) -> None:
        """Count and say what the status now says: whoever wrote it is the only one to do so."""
        for ended in decision.ended:
            self._count(ended)
        before, after = seen.body.get("status") or {}, decision.status or {}
        self._frame.notifications.tell(transitions.between(seen.body, before, after))
        event = events.transition(before, after, seen.key)
        if event:
            log.info("%s: %s", event.reason, event.note.replace("\n", " "))
            await self._frame.kube.event(
                seen.body, reason=event.reason, note=event.note, action="Build", warning=event.warning
            )

    async def _expire(self, namespace: str, name: str) -> None:
        """The result is in the status: the Job may go in a while."""
        ttl = {"spec": {"ttlSecondsAfterFinished": self._frame.settings.job_ttl_seconds}}
        try:
            await self._frame.kube.patch(names.JOBS, namespace, name, ttl)
        except kube.NotFound:
            log.debug("Job %s is gone already", name)

    async def _start(self, seen: Observed, job: questions.Job) -> None:
        """ConfigMaps, then the Job. All have names of their own content: what of ours is there already is right."""
        made = await self._answers.made(seen, job)
        for config_map in made.config_maps:
            if isinstance(await self._frame.kube.create(names.CONFIGMAPS, config_map), kube.AlreadyExists):
                await self._confirm(seen, config_map)
        if isinstance(await self._frame.kube.create(names.JOBS, made.job), kube.AlreadyExists):
            await self._adopt(seen, job.name)
        self._made[seen.key] = job.name

    async def _adopt(self, seen: Observed, name: str) -> None:
        """A Job of that name is there: ours from before a restart, or somebody else's, which the next look steps over."""
        found = await self._frame.kube.get(names.JOBS, seen.key.namespace, name)
        if found is None or not objects.is_ours(found, seen):
            raise kube.Conflict(409, "Conflict", f"Job {name} came and went, or is somebody else's")
        self._frame.cache.wrote(names.JOBS, found)

    async def _confirm(self, seen: Observed, wanted: kube.Object) -> None:
        """A ConfigMap under a name of ours must be ours, and hold what it is to hold: pods do what it says."""
        name = wanted["metadata"]["name"]
        found = await self._frame.kube.get(names.CONFIGMAPS, seen.key.namespace, name)
        if found is None:
            raise kube.Conflict(409, "Conflict", f"ConfigMap {name} came and went")
        if objects.is_ours(found, seen) and found.get("data") == wanted["data"]:
            return
        text = f"ConfigMap {name} is there already with other contents, or was not made for this ImageBuild; it is left"
        text += f" alone, and the build cannot start while it is there: kubectl describe configmap {name}"
        await self._frame.kube.event(seen.body, reason="NameTaken", note=text, action="Build", warning=True)
        raise kube.KubeError(409, "NameTaken", text)

    def _count(self, ended: Ended) -> None:
        counters = self._frame.metrics
        counters.builds_total.labels(ended.result, ended.reason).inc()
        if ended.duration is not None:
            counters.build_duration.labels(ended.result, ended.isolation).observe(max(ended.duration, 0.0))
        phases = {"queue": ended.queue, "pod_start": ended.pod_start}
        if said := ended.metrics:
            phases |= {"fetch": said.fetch_seconds, "build": said.build_seconds, "push": said.push_seconds}
            counters.cache_lookups.labels("hit").inc(max(said.cache_hits, 0))
            counters.cache_lookups.labels("miss").inc(max(said.cache_misses, 0))
            counters.pulled_bytes.inc(max(said.pulled_bytes, 0))
            counters.pushed_bytes.inc(max(said.pushed_bytes, 0))
        for phase, seconds in phases.items():
            if seconds is not None:
                counters.build_phase.labels(phase).observe(max(seconds, 0.0))
