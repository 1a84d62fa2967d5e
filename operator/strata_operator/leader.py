"""Only one operator acts: whoever holds the Lease. Others watch, and take over when it is given up or has expired.

Clocks of two machines are never compared: a Lease has expired when this process has seen it unchanged for as long as it
says of itself. A holder that cannot renew it gives up before anybody else may take it, and ends.
(The protocol of Kubernetes' own controllers: coordination.k8s.io/v1, client-go's leaderelection.)
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from strata_operator import kube, names

log = logging.getLogger(__name__)

LEASE: Final = names.OPERATOR
_FIELD_MANAGER_LIMIT: Final = 128


class Lost(Exception):
    """Somebody else may be acting from now on: this process must not."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `deadline` is less than `duration`, for requests of the former holder may still be on their way."""

    duration: float = 15.0  # a Lease that is not renewed for so long may be taken
    deadline: float = 10.0  # who cannot renew for so long has lost it
    period: float = 2.0  # between two tries


def identity(pod_name: str) -> str:
    """Who this process is. A pod has one operator, so that a container that starts again is still the holder."""
    return pod_name or f"{socket.gethostname()[:60]}-{os.getpid()}-{random.getrandbits(32):08x}"


class Lease:
    """The one Lease of the operators of `namespace`, as this process sees it."""

    def __init__(
        self,
        client: kube.Kube,
        namespace: str,
        me: str,
        *,
        timing: Timing = Timing(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = client
        self._namespace = namespace
        self._me = me
        self._timing = timing
        self._clock = clock
        self._body: kube.Object = {}
        self._unchanged = ("", 0.0)  # resourceVersion of another's Lease, and since when we have seen it
        self._renewed = 0.0  # when the last request that succeeded was sent

    @property
    def mine(self) -> bool:
        """Whether this process holds it, as far as it knows."""
        return self._renewed > 0 and _holder(self._body) == self._me

    @property
    def other(self) -> str:
        """Who else holds it, empty if nobody does, as far as this process knows."""
        return "" if _holder(self._body) == self._me else _holder(self._body)

    async def acquire(self) -> bool:
        """Wait until this process holds the Lease. Whether somebody else did before."""
        waited = False
        while not await self._try():
            waited = True
            await asyncio.sleep(self._timing.period * random.uniform(0.8, 1.2))  # noqa: S311  jitter
        log.info("%s holds the Lease %s/%s", self._me, self._namespace, LEASE)
        return waited

    async def hold(self) -> NoReturn:
        """Renew the Lease for ever. Raises Lost."""
        while True:
            await asyncio.sleep(self._timing.period)
            left = self._renewed + self._timing.deadline - self._clock()
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    await self._renew()
            except TimeoutError:
                seconds = self._clock() - self._renewed
                raise Lost(f"the Lease {LEASE} could not be renewed for {seconds:.0f} s") from None
            except kube.KubeError as e:
                log.warning("the Lease is not renewed: %s", e)

    async def release(self) -> None:
        """Give the Lease up, if it is held, so that another operator need not wait until it expires."""
        if _holder(self._body) != self._me:
            return
        try:
            async with asyncio.timeout(self._timing.duration - self._timing.deadline):
                await self._give_up()
        except Lost as e:
            log.info("%s", e)
        except (kube.KubeError, TimeoutError) as e:
            log.warning("the Lease is not given up, and expires: %s", e)

    async def _give_up(self) -> None:
        """A renewal may have arrived of which no answer came, most of all the one that the end cut off."""
        free: dict[str, Any] = {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._write(free)
        except kube.Conflict:
            await self._look_again()
            await self._write(free)

    async def _try(self) -> bool:
        started = self._clock()
        try:
            async with asyncio.timeout(self._timing.deadline):
                held = await self._claim()
        except kube.Conflict:  # somebody was faster
            return False
        except (kube.KubeError, TimeoutError) as e:
            log.warning("the Lease cannot be asked for: %s", e or "no answer")
            return False
        self._renewed = started
        return held

    async def _claim(self) -> bool:
        found = await self._kube.get(names.LEASES, self._namespace, LEASE)
        if found is None:
            await self._create()
            return True
        self._body = found
        if not self._free(found):
            return False
        changes: dict[str, Any] = {}
        if _holder(found) != self._me:
            count = int((found.get("spec") or {}).get("leaseTransitions") or 0)
            changes = {"acquireTime": _now(), "leaseTransitions": count + 1}
        await self._write(self._mine() | changes)
        return True

    def _free(self, found: kube.Object) -> bool:
        """Whether the Lease may be taken: nobody's, ours from before, or unchanged for too long."""
        if _holder(found) in ("", self._me):
            return True
        version, now = found["metadata"]["resourceVersion"], self._clock()
        if version != self._unchanged[0]:
            self._unchanged = (version, now)
            log.info("waiting: %s holds the Lease %s/%s", _holder(found), self._namespace, LEASE)
        duration = (found.get("spec") or {}).get("leaseDurationSeconds") or self._timing.duration
        return bool(now - self._unchanged[1] >= float(duration))

    async def _renew(self) -> None:
        started = self._clock()
        try:
            await self._write(self._mine())
        except kube.NotFound:
            await self._create()
        except kube.Conflict:
            await self._look_again()
            return
        self._renewed = started

    async def _look_again(self) -> None:
        """Somebody wrote to the Lease: whoever only labelled it has not taken it."""
        self._body = await self._kube.get(names.LEASES, self._namespace, LEASE) or {}
        if self._body and _holder(self._body) != self._me:
            raise Lost(f"{_holder(self._body) or 'nobody'} holds the Lease {LEASE} now")

    async def _create(self) -> None:
        """By server-side apply, which the role can allow for this name alone; of two who do so one conflicts."""
        spec = self._mine() | {"acquireTime": _now(), "leaseTransitions": 0}
        body = {"metadata": {"name": LEASE, "namespace": self._namespace}, "spec": spec}
        manager = self._me[:_FIELD_MANAGER_LIMIT]
        self._body = await self._kube.apply(names.LEASES, body, manager=manager, force=False)

    async def _write(self, spec: dict[str, Any]) -> None:
        version = (self._body.get("metadata") or {}).get("resourceVersion", "")
        patch = {"metadata": {"resourceVersion": version}, "spec": spec}
        self._body = await self._kube.patch(names.LEASES, self._namespace, LEASE, patch)

    def _mine(self) -> dict[str, Any]:
        return {
            "holderIdentity": self._me,
            "leaseDurationSeconds": max(int(self._timing.duration), 1),
            "renewTime": _now(),
        }


def _holder(body: kube.Object) -> str:
    return str((body.get("spec") or {}).get("holderIdentity") or "")


def _now() -> str:
    """As the API's MicroTime; for people, nobody compares it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
