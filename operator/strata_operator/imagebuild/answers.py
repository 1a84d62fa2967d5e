"""The answers to what `decide` asks: the one place where an ImageBuild's reconcile reads more than the cache."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from strata_builder import contract
from strata_operator import controller, kube, names
from strata_operator.imagebuild import (
    admission,
    isolation,
    memory,
    objects,
    observe,
    pod,
    questions,
    queueing,
    refusals,
    repositories,
    resources,
    seats,
    target,
    wholes,
)
from strata_operator.imagebuild.case import Observed
from strata_operator.imagebuild.triggers import basewatch, poller, webhook
from strata_operator.registry import view

log = logging.getLogger(__name__)

_NODES_AGE: Final = 600.0
_LEARNT: Final = 6 * 3600.0  # what a pod has found out by failing is tried again after so long, or by the next operator
_HEARING: Final = 600.0  # what the receiver reads at each delivery need not be looked at often to tell of it
_RESOLV_CONF: Final = Path("/etc/resolv.conf")


class Answers:
    """Belongs to one operator. Slow things happen in threads."""

    def __init__(
        self,
        frame: controller.Frame,
        places: seats.Seats,
        known: memory.Memory,
        polling: poller.Poller,
        watch: basewatch.Watch,
    ) -> None:
        self._frame = frame
        self._seats = places
        self._known = known
        self._poller = polling
        self._repositories = repositories.Repositories(frame, known)
        self._wholes = wholes.Wholes(frame.kube)
        self._resolv_conf = _RESOLV_CONF.read_text("utf-8", "replace") if _RESOLV_CONF.exists() else ""
        self._by_kind: Mapping[type, Callable[[Observed, Any], Awaitable[Any]]] = {
            questions.ConfigMaps: self._config_maps,
            questions.Commit: self._commit,
            questions.Polled: self._polled,
            questions.BaseImages: watch.seen,
            questions.Ahead: watch.ahead,
            questions.Webhook: self._webhook,
            questions.Secrets: self._secrets,
            questions.Slot: self._slot,
            questions.Rivals: self._rivals,
            questions.Runs: self._runs,
            questions.UserNamespaces: self._user_namespaces,
            questions.ImageVolumes: self._image_volumes,
            questions.Remember: self._remember,
            questions.Admission: self._admission,
            questions.Events: self._events,
            questions.Workloads: self._workloads,
            questions.Published: self._repositories.published,
            questions.Tag: self._repositories.tag,
            questions.LostResult: self._repositories.lost_result,
        }

    async def answer(self, seen: Observed, question: questions.Question) -> Any:
        """What `question` asks for. Raises kube.KubeError where the API server does not answer."""
        return await self._by_kind[type(question)](seen, question)

    async def made(self, seen: Observed, job: questions.Job) -> objects.Made:
        """The objects of an attempt. Raises kube.Conflict if the spec has changed meanwhile."""
        whole = await self._wholes.of(seen)
        registry = view.view(seen.registry or {})
        return objects.make(
            whole,
            target.Target(registry, job.repository),
            job,
            self._frame.settings,
            resolv_conf=pod.resolv_conf(self._resolv_conf, self._frame.settings.namespace, seen.key.namespace),
            ca_bundle=self._repositories.trusted(registry),
        )

    async def _config_maps(self, seen: Observed, asked: questions.ConfigMaps) -> dict[str, kube.Object | None]:
        found = await asyncio.gather(
            *(self._frame.kube.get(names.CONFIGMAPS, seen.key.namespace, name) for name in asked.names)
        )
        return dict(zip(asked.names, found, strict=True))

    async def _commit(self, seen: Observed, asked: questions.Commit) -> Any:
        key = _source(seen, asked)
        known = self._known.recall(key, asked.max_age) if asked.max_age else None
        if known is not None and not self._disputed(seen, asked, known):
            return known
        found = await self._poller.resolve(seen.key.namespace, asked)
        if not isinstance(found, questions.Later):
            self._known.learn(key, found)
        return found

    def _disputed(self, seen: Observed, asked: questions.Commit, known: Any) -> bool:
        """Whether polling has found another commit than is remembered. One of them is older, and begins no build: it may
        be the one that is built already."""
        polled = self._poller.known(seen.key, questions.Polled(asked.url, asked.revision, asked.secret))
        if isinstance(polled, questions.Resolved) and isinstance(known, questions.Resolved):
            return polled.commit != known.commit
        return False

    async def _polled(self, seen: Observed, asked: questions.Polled) -> Any:
        """Until the first poll, what was found when the build began: that the source may not be seen is said at once."""
        known = self._poller.known(seen.key, asked)
        return self._known.recall(_source(seen, asked), _LEARNT) if known is None else known

    async def _webhook(self, seen: Observed, asked: questions.Webhook) -> questions.Deaf | None:
        key = asked.of(seen.key.namespace)
        if self._known.recall(key, _HEARING):
            return None
        found = await webhook.problem(self._frame.kube, self._frame.settings, seen.key.namespace, asked.secret)
        self._known.learn(key, found is None)
        return found

    async def _secrets(self, seen: Observed, asked: questions.Secrets) -> contract.Failure | None:
        """The kubelet would tell the same a minute later; where Secrets may not be read, it does."""
        for name, keys in asked.wanted:
            try:
                body = await self._frame.kube.get(names.SECRETS, seen.key.namespace, name)
            except kube.Forbidden:
                return None
            if absent := refusals.secret(name, keys, body):
                return absent
        return None

    async def _slot(self, seen: Observed, asked: questions.Slot) -> queueing.Standing | None:
        return await self._seats.claim(seen, asked.rank)

    async def _rivals(self, seen: Observed, asked: questions.Rivals) -> Any:
        return observe.rivals(self._frame, seen, asked.repository)

    async def _runs(self, seen: Observed, asked: questions.Runs) -> bool | contract.Failure:
        whole = await self._wholes.of(seen)
        text = ((whole.body["spec"].get("dockerfile") or {}).get("inline") or "").encode("utf-8", "surrogatepass")
        return isolation.runs(text, asked.target)

    async def _user_namespaces(self, _seen: Observed, asked: questions.UserNamespaces) -> bool:
        """Whether every node says that its runtime has them; where nodes may not be read, the pod tells."""
        if self._known.recall(questions.Remember(asked, answer=False), _LEARNT):
            return False
        known = self._known.recall(asked, _NODES_AGE)
        if known is None:
            try:
                nodes = [n async for page, _ in self._frame.kube.pages(names.NODES) for n in page]
                known = bool(nodes) and all(_has_user_namespaces(node) for node in nodes)
            except kube.Forbidden:
                known = True
            self._known.learn(asked, known)
        return bool(known)

    async def _image_volumes(self, _seen: Observed, asked: questions.ImageVolumes) -> bool:
        wanted = self._frame.settings.image_volumes
        if wanted != "Auto":
            return wanted == "Always"
        return not self._known.recall(questions.Remember(asked, answer=False), _LEARNT)

    async def _remember(self, _seen: Observed, told: questions.Remember) -> None:
        log.warning("learnt of the cluster: %s is %s", type(told.asked).__name__, told.answer)
        self._known.learn(told, True)

    async def _admission(self, seen: Observed, asked: questions.Admission) -> Any:
        made = await self.made(seen, asked.job)
        try:
            there = await admission.ask(self._frame.kube, made)
        except kube.Forbidden as e:
            return refusals.creation(e.message)
        except kube.Invalid as e:
            if self._may_be_copied(asked.job) and refusals.lacks_image_volumes(e.message):
                return questions.NoImageVolumes()
            return _invalid(made, e.message)
        except kube.KubeError as e:
            if refused := refusals.policy(e.message):
                return refused
            raise
        return await self._taken(seen, asked.job) if there else None

    async def _taken(self, seen: Observed, job: questions.Job) -> questions.NameTaken | None:
        there = await self._frame.kube.get(names.JOBS, seen.key.namespace, job.name)
        if there is None or objects.is_ours(there, seen):
            return None
        return questions.NameTaken(f"Job {job.name} was not made for this ImageBuild and is left alone")

    def _may_be_copied(self, job: questions.Job) -> bool:
        in_place = job.isolation == isolation.IN_PLACE and not job.copied
        return in_place and self._frame.settings.image_volumes == "Auto"

    async def _events(self, seen: Observed, asked: questions.Events) -> list[kube.Object]:
        fields = f"regarding.uid={asked.uid}"
        pages = self._frame.kube.pages(names.EVENTS, namespace=seen.key.namespace, fields=fields)
        return [event async for page, _ in pages for event in page]

    async def _workloads(self, seen: Observed, asked: questions.Workloads) -> list[kube.Object]:
        """One list for all that wait in the namespace."""
        key = (seen.key.namespace, questions.Workloads)
        if (known := self._known.recall(key, asked.max_age)) is None:
            fields = "regarding.kind=Workload"
            pages = self._frame.kube.pages(names.EVENTS, namespace=seen.key.namespace, fields=fields)
            known = [event async for page, _ in pages for event in page]
            self._known.learn(key, known)
        found: list[kube.Object] = known
        return found


def _invalid(made: objects.Made, message: str) -> contract.Failure:
    """What an administrator of the cluster or of the namespace has to do with it is told apart from a mistake in spec.pod."""
    containers = made.job["spec"]["template"]["spec"]["containers"]
    given = None if any(resources.contradict(c["resources"]) for c in containers) else refusals.default_limit(message)
    mistake = contract.Failure("InvalidSpec", f"spec.pod makes no valid pod: {message}", hint="see spec.pod")
    return refusals.policy(message) or given or mistake


def _source(seen: Observed, asked: questions.Commit | questions.Polled) -> tuple[str, str, str]:
    """What a commit is remembered by: who may not read a Secret learns nothing of what it opens."""
    return asked.url, asked.revision, asked.secret and f"{seen.key.namespace}/{asked.secret}"


def _has_user_namespaces(node: kube.Object) -> bool:
    """By the handler that has no name, which pods without a RuntimeClass get."""
    handlers = (node.get("status") or {}).get("runtimeHandlers") or ()
    default = [handler for handler in handlers if not handler.get("name")] or handlers
    return any((handler.get("features") or {}).get("userNamespaces") for handler in default)
