"""Base images as the operator watches them: what the cluster says of an ImageBuild's surroundings, for the poller; and who
is to be woken when an image that others are based on has been built."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from strata_builder import errors
from strata_builder.oci.reference import Reference
from strata_builder.registry import config, proxies
from strata_operator import addresses, controller, kube, names, settings
from strata_operator.imagebuild import chains, memory, observe, questions, state
from strata_operator.imagebuild.case import Observed
from strata_operator.imagebuild.triggers import baseknown, baselook, baseplaces, basepoller, bases, waves
from strata_operator.registry import material, view

_AT_ONCE: Final = 50  # ImageBuilds that are taken in without a pause
_SECRETS: Final = 60.0  # seconds for which a Secret that was read is used again
_SHOWN: Final = 3  # problems that a message names


@dataclass(slots=True)
class _Logins:
    """`unread` are Secrets that the operator may not read, `broken` says what is wrong with others."""

    configs: list[bytes] = field(default_factory=list, repr=False)
    unread: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Watch:
    """Belongs to one operator and its event loop. `wake` has an ImageBuild looked at."""

    def __init__(self, frame: controller.Frame, known: memory.Memory, *, wake: Callable[[names.Key], None]) -> None:
        self._frame = frame
        self._known = known
        self._chains = chains.Chains()
        options = frame.settings
        self._clients = baselook.Clients(
            addresses.of_users(options.poll_allowed_cidrs, os.environ).hook,
            proxies.Proxies(options.http_proxy, options.https_proxy, options.no_proxy),
        )
        self.waves = waves.Waves(
            wake=wake, priority=self._chains.priority, begin=lambda: frame.enqueue(waves.KIND, waves.KEY)
        )
        self.poller = basepoller.Poller(
            self._clients,
            poll_in=lambda key, seconds: frame.enqueue(basepoller.KIND, key, seconds),
            tell=self.waves.add,
            clock=time.monotonic,
        )

    # -- what is known of the ImageBuilds --

    async def restore(self) -> None:
        """Take in all ImageBuilds of the cache, and let the loop turn meanwhile: ten thousand take seconds."""
        for count, body in enumerate(self._frame.cache[names.IMAGEBUILDS].all()):
            self._chains.note(kube.place(body), self._node(body))
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def note(self, body: kube.Object) -> None:
        """Take in what an ImageBuild is now. Whoever waits for its build is woken when that has ended, and its image is
        looked at when that has changed: hints, both. All others that are based on it are told by the poller."""
        key, new = kube.place(body), self._node(body)
        old = self._chains.note(key, new)
        if new.digest and new.digest != old.digest:
            for host, repository, tag in new.images:
                self.poller.now(host, repository, tag)
        if old.busy and not new.busy:
            self.waves.add(self._chains.waiting(new.images))

    def close(self) -> None:
        """Ends connections and threads."""
        self.poller.close()

    def drop(self, key: names.Key) -> None:
        """An ImageBuild is gone."""
        self._chains.drop(key)
        self.poller.forget(key)

    def _node(self, body: kube.Object) -> chains.Node:
        registry = observe.registry_of(self._frame, body)
        seen = view.view(registry) if registry else None
        return chains.node(body, (seen.push, seen.node, seen.external) if seen else ())

    # -- answers --

    async def seen(self, seen: Observed, asked: questions.BaseImages) -> bases.Seen:
        """What is known of base images; from now on the poller looks at them."""
        if seen.registry is None:
            return bases.Seen()
        cycles = {name: way for name, _ in asked.recorded if (way := self._chains.cycle(seen.key, name))}
        followed = {name: digests for name, digests in asked.recorded if name not in cycles}
        references = {name: Reference.parse(name) for name in followed}
        hosts = {host for one in references.values() for host in self._hosts(seen, one)}
        logins = await self._logins(seen, asked, hosts)
        try:
            around = self._around(seen, logins, hosts)
            places = {name: baseplaces.place(reference, around) for name, reference in references.items()}
        except errors.BuildError as e:
            return bases.Seen(problem=("InvalidSpec", e.message))
        wanted = {place: baseknown.Interest(asked.interval, followed[name]) for name, place in places.items()}
        known = self.poller.interested(seen.key, wanted)
        by_name = {name: known[place] for name, place in places.items()}
        return bases.Seen(
            found={name: found for name, one in by_name.items() if (found := one.found_for(seen.key))},
            problem=self._problem(seen, logins, cycles, by_name),
            checked=_checked(by_name.values()),
            held=self.waves.holds(seen.key),
        )

    async def ahead(self, seen: Observed, asked: questions.Ahead) -> names.Key | None:
        """Who is to be built before, or has just been while more urgent ones that have waited for it are still to be woken."""
        maker = self._chains.busy(seen.key, asked.base_images, self._about_to)
        return maker or (self._overtaken(seen.key, asked) if asked.waited else None)

    def _overtaken(self, key: names.Key, asked: questions.Ahead) -> names.Key | None:
        made = (maker for name in asked.base_images for maker in self._chains.makers(name) if maker != key)
        maker = next(made, None)
        return maker if maker and not self.waves.turn(key) else None

    def _about_to(self, key: names.Key) -> bool:
        """Whether an ImageBuild is going to be built for a base image of its own, and has not been looked at yet."""
        body = self._frame.cache[names.IMAGEBUILDS].get(*key)
        if body is None or (body.get("spec") or {}).get("suspend"):
            return False
        was = state.read(body.get("status") or {})
        before = bases.watched(was)
        found = self.poller.known_to(key)
        known = {name: found[one] for name in before if (one := chains.image(name)) and one in found}
        now = bases.moved(before, known)
        unknown = frozenset(before.keys() - known.keys())
        return bool(now and was.current and bases.news(was, was.current, now, unknown))

    def _around(self, seen: Observed, logins: _Logins, hosts: Iterable[str]) -> baseplaces.Surroundings:
        labels = ((seen.namespace or {}).get("metadata") or {}).get("labels") or {}
        views = map(view.view, self._registries_at(hosts))
        return baseplaces.Surroundings(
            options=self._frame.settings,
            target=view.view(seen.registry or {}),
            managed=[v for v in views if v.registry.managed and v.admits(seen.key.namespace, labels)],
            logins=config.DockerConfig.load(logins.configs),
            authorities=self._frame.authorities,
        )

    def _registries_at(self, hosts: Iterable[str]) -> list[kube.Object]:
        """Registries that are reached at one of these hosts."""
        wanted = frozenset(hosts)
        return [body for body in self._frame.cache[names.REGISTRIES].all() if _push_host(body) in wanted]

    async def _logins(self, seen: Observed, asked: questions.BaseImages, hosts: Iterable[str]) -> _Logins:
        """What builder pods of the namespace log in with: the pull Secrets of the spec, and, where a Registry is asked,
        the Secret that the operator has written for them."""
        found = _Logins()
        for name in (*asked.secrets, *([names.SECRET_PULL] if self._registries_at(hosts) else [])):
            await self._login(seen.key.namespace, name, found)
        return found

    def _hosts(self, seen: Observed, reference: Reference) -> list[str]:
        try:
            return baseplaces.hosts(reference, view.view(seen.registry or {}), self._frame.settings)
        except errors.BuildError:
            return [reference.host]  # a mirror that is no URL is told of where the places are made

    async def _login(self, namespace: str, name: str, found: _Logins) -> None:
        key = ("pull secret", namespace, name)
        text = self._known.recall(key, _SECRETS)
        if text is None:
            try:
                body = await self._frame.kube.get(names.SECRETS, namespace, name)
            except kube.Forbidden:
                found.unread.append(name)
                return
            text = material.decode(body).get(".dockerconfigjson", "")
            self._known.learn(key, text)
        try:
            config.DockerConfig.load([text.encode()] if text else [])
        except errors.BuildError as e:
            found.broken.append(f"Secret {name}: {e.message}")
        else:
            found.configs += [text.encode()] if text else []

    def _problem(
        self,
        seen: Observed,
        logins: _Logins,
        cycles: Mapping[str, tuple[names.Key, ...]],
        by_name: Mapping[str, baseknown.Known],
    ) -> tuple[str, str] | None:
        found = [("BaseImageCycle", _circular(name, way)) for name, way in sorted(cycles.items())]
        for name, known in sorted(by_name.items()):
            if known.problem is None:
                continue
            text = f"base image {name} cannot be looked at: {known.problem.message}"
            if known.problem.denied and logins.unread:
                text += f"\n{_may_not_read(seen.key.namespace, logins.unread[0], self._frame.settings)}"
            found.append((known.problem.reason, text))
        found += [("CredentialsInvalid", text) for text in logins.broken]
        if not found:
            return None
        more = len(found) - _SHOWN
        texts = [text for _, text in found[:_SHOWN]] + ([f"and {more} more"] if more > 0 else [])
        return found[0][0], "\n".join(texts)


def _push_host(registry: kube.Object) -> str:
    return str(((registry.get("status") or {}).get("endpoints") or {}).get("push") or "-")


def _circular(name: str, way: tuple[names.Key, ...]) -> str:
    return (
        f"base image {name} starts no build, for it is made from this very image: {chains.shown(way)};"
        " name another base, or one by its digest, in one of them"
    )


def _may_not_read(namespace: str, name: str, options: settings.Settings) -> str:
    return (
        f"the operator may not read Secret {name} of spec.pullSecrets. To let it:"
        f" kubectl create rolebinding {names.SECRET_READER} --namespace {namespace}"
        f" --clusterrole {names.SECRET_READER} --serviceaccount {options.namespace}:{options.service_account}"
    )


def _checked(known: Iterable[baseknown.Known]) -> float | None:
    """When the last of all these was looked at, in Unix seconds; None before each was."""
    times = [one.checked for one in known]
    oldest = min((t for t in times if t is not None), default=None) if None not in times else None
    return None if oldest is None else time.time() - (time.monotonic() - oldest)
