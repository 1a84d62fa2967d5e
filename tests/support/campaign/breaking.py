"""Breaks what builds stand on: one fault after the other from a shuffled deck, so that every kind has its share."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable

from cluster import folders, processes
from support import api_proxy, faults, outside
from support.campaign import api, background, recovery, watching

GAP = "gap-"  # what begins so is made only to be deleted while a watch has a gap
#: Cards of each kind in the deck.
DECK: dict[str, int] = {
    "operator killed": 7,
    "operator told to end": 1,
    "builder container killed": 7,
    "watches cut": 3,
    "watches cut in a line": 3,
    "watches told errors": 3,
    "objects deleted in a 410 gap": 3,
    "answers 429": 3,
    "answers 500 and 503": 3,
    "answers dropped after the work": 4,
    "conflicting writes": 4,
    "slow answers": 3,
    "clock set": 4,
    "registry killed": 1,
    "API server killed": 1,
    "kubelet killed": 1,
}
_STATUS = r"/(imagebuilds|registries)/[^/]+/status$"


class Breaker(background.Background):
    """`made` says what was done, `deleted` which Jobs. Whatever ends by itself is started again, and noted in `ended`."""

    def __init__(
        self,
        seed: int,
        operator: outside.Operator,
        proxy: api_proxy.Proxy,
        server: api.Api,
        seen: watching.Recorder,
        *,
        pause: tuple[float, float] = (0.5, 5.0),
        patience: float = 15.0,
    ) -> None:
        super().__init__("breaker")
        self.operator = operator
        self.proxy = proxy
        self.server = server
        self.seen = seen
        self.pause = pause
        self.patience = patience  # seconds after a fault, at most, that are left to a build to come about
        self.made: list[recovery.Fault] = []
        self.ended: list[str] = []
        self.deleted: set[str] = set()  # uids of Jobs
        self.told: dict[int, str] = {}  # metrics of each start of the operator, as last read
        self._chance = random.Random(f"{seed}/faults")
        self._until: list[tuple[float, api_proxy.Rule]] = []
        self._over = 0.0  # when what is being made is over
        self._lives = 0
        self._gaps = 0
        self._ended = 0  # builds, before the last fault
        self._acts: dict[str, Callable[[], bool]] = {
            "operator killed": lambda: self._operator(self.operator.kill),
            "operator told to end": lambda: self._operator(self.operator.end),
            "builder container killed": self._builder,
            "watches cut": lambda: self.proxy.cut() > 0,
            "watches cut in a line": lambda: self.proxy.cut(middle=True) > 0,
            "watches told errors": self._errors,
            "objects deleted in a 410 gap": self._gap,
            "answers 429": lambda: self._rule(api_proxy.Refuse(429, 1), chance=0.5),
            "answers 500 and 503": lambda: self._rule(api_proxy.Refuse(self._chance.choice([500, 503])), chance=0.5),
            "answers dropped after the work": lambda: self._rule(api_proxy.Drop(), "POST|PATCH|DELETE", chance=0.4),
            "conflicting writes": lambda: self._rule(api_proxy.Conflict(), "PATCH", _STATUS, chance=0.5),
            "slow answers": lambda: self._rule(api_proxy.Delay(0.1, 2.0), chance=0.7),
            "clock set": self._clock,
            "registry killed": self._registry,
            "API server killed": lambda: self._program("kube-apiserver"),
            "kubelet killed": lambda: self._program("kubelet"),
        }

    def work(self) -> None:
        while not self.over.is_set():
            deck = [kind for kind, cards in DECK.items() for _ in range(cards)]
            self._chance.shuffle(deck)
            for kind in deck:
                if self._wait(self._chance.uniform(*self.pause)) or self._wait(self.patience, until=self._progress()):
                    break
                self._break(kind)

    def stop(self) -> None:
        """No more faults; the clock is right again, and an operator runs."""
        super().stop()
        self.proxy.rules = []
        now = time.monotonic()
        self.made = [dataclasses.replace(fault, over=min(fault.over, now)) for fault in self.made]
        self.operator.clock(0)
        self._keep_alive()

    def read_metrics(self) -> None:
        """What this start of the operator has counted so far."""
        if text := self.operator.metrics():
            self.told[self.operator.starts] = text

    def _break(self, kind: str) -> None:
        deadline = time.monotonic() + 10
        while (now := time.monotonic()) < deadline:
            self._over = now
            if self._acts[kind]():
                self.made.append(recovery.Fault(kind, now, self._over))
                self.operator.note(kind)
                return
            if self._wait(0.3):  # nothing there to break yet
                return

    def _progress(self) -> Callable[[], bool]:
        """Whether a build has ended since the last fault: on a slow machine faults alone would leave time for nothing."""
        before, self._ended = self._ended, len(self.seen.entries)
        return lambda: len(self.seen.entries) > before

    def _wait(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Whether it is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not until():
            if self.over.wait(min(left, 0.3)):
                return True
            self._keep_alive()
            self._expire()
        return self.over.is_set()

    def _keep_alive(self) -> None:
        if not self.operator.alive:
            self.ended.append(self.operator.told())
            self.operator.start()

    def _expire(self) -> None:
        now = time.monotonic()
        over = [rule for end, rule in self._until if end <= now]
        self._until = [(end, rule) for end, rule in self._until if end > now]
        self.proxy.rules = [rule for rule in self.proxy.rules if not any(rule is one for one in over)]

    def _rule(self, action: api_proxy.Action, method: str = "", path: str = "", *, chance: float) -> bool:
        """For some seconds; other faults may come meanwhile."""
        rule = api_proxy.Rule(action, method, path, chance)
        self.proxy.rules = [*self.proxy.rules, rule]
        self._over = time.monotonic() + self._chance.uniform(2, 8)
        self._until.append((self._over, rule))
        return True

    def _errors(self) -> bool:
        error = api_proxy.error(self._chance.choice([500, 504]), message="etcdserver: no leader")
        return self._rule(error, chance=0.7) and self.proxy.cut() > 0

    def _operator(self, end: Callable[[], None]) -> bool:
        """Mostly while it acts: one that never gets to work shows little."""
        self.read_metrics()
        if "strata_leader 1.0" not in self.told.get(self.operator.starts, "") and self._chance.random() < 0.97:
            return False
        end()
        time.sleep(self._chance.choice([0, 0, 0.5, 3]))
        if self._chance.random() < 0.15:  # as a pod on another node: the Lease has to expire
            self._lives += 1
            self.operator.identity = f"outside-{self._lives}"
        self.operator.start()
        return True

    def _builder(self) -> bool:
        running = [
            status["containerID"].rpartition("/")[2]
            for pod in self.seen.pods
            for status in pod.get("status", {}).get("containerStatuses", ())
            if status.get("state", {}).get("running")
        ]
        return bool(running) and _kill(faults.processes(self._chance.choice(sorted(running))))

    def _gap(self) -> bool:
        """Pods and Jobs of running builds, and an ImageBuild that nobody waits for."""
        self._gaps += 1
        victim = f"{GAP}{self._gaps}"
        self.server.apply("imagebuilds", _victim(victim))
        self._wait(self._chance.uniform(0, 3))
        running = [pod for pod in self.seen.pods if pod.get("status", {}).get("phase") in ("Pending", "Running")]
        with self.proxy.gap(in_stream=True):
            for pod in self._chance.sample(running, min(len(running), 2)):
                owner = pod["metadata"]["ownerReferences"][0]
                if self._chance.choice([True, False]):
                    self.server.delete("pods", pod["metadata"]["name"])
                else:
                    self.deleted.add(owner["uid"])
                    self.server.delete("jobs", owner["name"])
            self.server.delete("imagebuilds", victim)
            time.sleep(self._chance.uniform(0.5, 2))
        self._over = time.monotonic()
        return True

    def _clock(self) -> bool:
        if not outside.shim():
            return False
        self.operator.clock(self._chance.choice([3600, -3600, 300, -300, 86400, 0, 0]))
        return True

    def _registry(self) -> bool:
        code, body = self.server.ask("GET", self.server.place("pods") + "?labelSelector=strata.build/registry")
        pods = body.get("items", []) if code == 200 else []
        ids = [container for pod in pods if (container := faults.container(pod))]
        return bool(ids) and _kill(faults.processes(ids[0]))

    def _program(self, name: str) -> bool:
        who = folders.this_cluster()
        found = [pid for pid in processes.members(who) if processes.words(pid)[:1] and _is(pid, name)]
        return _kill(found[:1])


def _is(pid: int, name: str) -> bool:
    return processes.words(pid)[0].rpartition("/")[2] == name


def _kill(pids: list[int]) -> bool:
    """The first of them, if it is still there."""
    for pid in pids[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def _victim(name: str) -> api.Body:
    return {
        "apiVersion": "strata.build/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": name},
        "spec": {
            "dockerfile": {"inline": f"FROM busybox:1.36\nLABEL version={name}\n"},
            "output": {"registry": {"name": "main"}},
        },
    }
