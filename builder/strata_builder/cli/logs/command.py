"""`strata logs`: what was asked for, and where it is looked for in turn."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from typing import Final

from strata_builder import contract, errors
from strata_builder.buildlog import artifact, text
from strata_builder.cli import values
from strata_builder.cli.logs import builds, kept, kubectl, live, places
from strata_builder.oci.reference import Reference
from strata_builder.registry import errors as registry_errors
from strata_builder.registry.client import Registry

_POLL: Final = 1.0


def run(given: argparse.Namespace) -> int:
    """Raises UsageError, KubeError, RegistryError, kept.LogGone."""
    _check(given)
    show = _Printer(times=given.timestamps)
    try:
        if given.source:
            _from_registry(given, show)
        elif given.follow:
            _follow(given, _cluster(given), show)
        else:
            _once(given, _cluster(given), show)
    except BrokenPipeError:  # `strata logs web | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return contract.ExitCode.OK


def _check(given: argparse.Namespace) -> None:
    if bool(given.name) == bool(given.source):
        raise values.UsageError(
            "name an ImageBuild, or a repository with --from"
            if not given.name
            else "--from takes no ImageBuild beside it",
            hint="strata logs web -n team, or strata logs --from registry.example/team/web:3",
        )
    if given.follow and (given.source or given.build or given.attempt):
        raise values.UsageError("--follow is for what runs now: it goes with neither --from, --build nor --attempt")
    for flag, number in (("--build", given.build), ("--attempt", given.attempt)):
        if number is not None and number < 1:
            raise values.UsageError(f"{flag} is 1 or more, not {number}")
    values.hosts("--insecure-registry", given.insecure_registry)
    values.hosts("--via", filter(None, [given.via]))
    if given.name.startswith("-") or given.namespace.startswith("-"):
        raise values.UsageError("a name does not begin with a dash")


def _cluster(given: argparse.Namespace) -> kubectl.Kubectl:
    options = [f"--{name}={value}" for name in ("context", "kubeconfig") if (value := getattr(given, name))]
    return kubectl.Kubectl(options, program=os.environ.get("KUBECTL") or "kubectl")


class _Printer:
    """Lines on standard output; what is said of them on standard error."""

    def __init__(self, *, times: bool) -> None:
        self._times = times

    def lines(self, lines: Iterable[text.Line]) -> None:
        for line in lines:
            time_ = f"{line.time or '-'} " if self._times else ""
            print(f"{time_}{line.container:<5} | {line.text}" if line.container else line.text, flush=True)

    def note(self, said: str) -> None:
        print(said, file=sys.stderr, flush=True)


def _once(given: argparse.Namespace, cluster: kubectl.Kubectl, show: _Printer) -> None:
    body = cluster.get(kubectl.IMAGEBUILDS, given.name, given.namespace)
    chosen = builds.choose(body, given.build or 0, given.attempt or 0)
    runs = bool(chosen.job) and builds.phase(body) in builds.RUNNING
    refused = ""
    try:
        if chosen.job and (pod := _pod(cluster, body, chosen.job)):
            lines = live.so_far(cluster, pod)
            show.lines(lines if runs else list(lines))
            return
    except kubectl.KubeError as e:  # the log may be kept, and may be read there
        if runs:
            raise
        if isinstance(e, kubectl.Forbidden | kubectl.NotFound):
            refused = f"\nThe pod's log cannot be read, either: {e.message}"
        else:
            show.note(f"what was kept is read, for the pod's log cannot be: {e.message}")
    if runs:
        show.note(f"the pod of build {chosen.number} has not started: {builds.waits_for(body)}")
        return
    try:
        show.lines(_kept(given, cluster, body, chosen))
    except errors.BuildError as e:
        e.message += refused
        raise


def _pod(cluster: kubectl.Kubectl, body: builds.Body, job: str) -> live.Pod | None:
    pods = cluster.pods(job, body["metadata"]["namespace"])
    return next((pod for pod in pods if live.started(pod)), None)


def _kept(
    given: argparse.Namespace, cluster: kubectl.Kubectl, body: builds.Body, chosen: builds.Chosen
) -> list[text.Line]:
    what = (
        f"build {chosen.number}"
        + (f", attempt {chosen.attempt}" if chosen.attempt else "")
        + f" of {builds.name(body)}"
    )
    if not chosen.log:
        raise _gone(what, body, chosen, "its status names no place where the log would be kept")
    reference = Reference.parse(chosen.log)
    ways = places.Places(
        insecure=values.hosts("--insecure-registry", given.insecure_registry), cluster=cluster, via=given.via
    )
    try:
        return ways.ask(
            reference, places.known(cluster, body), kept.of_attempt(reference.version, chosen.number, chosen.attempt)
        )
    except (kept.LogGone, registry_errors.NotFound) as e:
        raise _gone(what, body, chosen, e.message) from e


def _gone(what: str, body: builds.Body, chosen: builds.Chosen, why: str) -> kept.LogGone:
    said = f"the log of {what} is not there: {why}"
    if words := builds.last_words(body, chosen):
        said += "\nThe status keeps its last lines:\n" + "\n".join(f"  {line}" for line in words.split("\n"))
    return kept.LogGone(
        said,
        hint="a log is kept as long as status.builds tells of its build, unless spec.history.logs is None, its pod was "
        "killed before it could, or its registry refused",
    )


def _from_registry(given: argparse.Namespace, show: _Printer) -> None:
    reference = Reference.parse(given.source)
    if reference.digest or (reference.tag and not reference.tag.strip("0").isdigit()):
        raise values.UsageError(f"--from {given.source!r}: what follows the colon is the number of a build")
    number = int(reference.tag or given.build or 0)
    if number != (given.build or number):
        raise values.UsageError(f"--from names build {number}, and --build {given.build}", hint="give one of the two")
    ways = places.Places(insecure=values.hosts("--insecure-registry", given.insecure_registry), via=given.via)

    def ask(registry: Registry, repository: str) -> list[text.Line]:
        there = kept.everything(registry, repository)
        wanted = [e for e in there if number in (0, e.number) and (given.attempt or 0) in (0, e.attempt)]
        if not wanted:
            raise kept.LogGone(
                f"{registry.host}/{repository} keeps no such log, but {kept.listed(there)}",
                hint="strata logs --from REPOSITORY:NUMBER chooses a build, --attempt one of its attempts",
            )
        newest = max(wanted, key=lambda e: (e.time, e.number, e.attempt))
        show.note(f"build {newest.number}, attempt {newest.attempt} ({newest.result}, {newest.time})")
        return [text.parsed(line) for line in artifact.lines(registry, repository, newest)]

    show.lines(ways.ask(reference, places.Known(), ask))


def _follow(given: argparse.Namespace, cluster: kubectl.Kubectl, show: _Printer) -> None:
    """Until the build has ended, through all its attempts; of one that has ended, what `_once` shows."""
    seen: set[str] = set()
    said = ""
    while True:
        body = cluster.get(kubectl.IMAGEBUILDS, given.name, given.namespace)
        phase, current = builds.phase(body), (body.get("status") or {}).get("current") or {}
        news = bool(phase) and phase not in builds.OPEN and not seen and builds.is_news(body)
        if phase and phase not in builds.OPEN and not news:
            if not seen:
                _once(given, cluster, show)
            show.note(f"build {current.get('number')}: {phase}")
            return
        pod = _unseen(cluster, body, current, seen) if phase in builds.RUNNING else None
        if pod:
            seen.add(pod["metadata"]["uid"])
            show.lines(live.as_it_comes(cluster, pod))
        elif (waits := _waits(body, current, news=news)) not in ("", said) and not (seen and phase in builds.RUNNING):
            said = waits
            show.note(waits)
        time.sleep(_POLL)


def _waits(body: builds.Body, current: builds.Body, *, news: bool) -> str:
    if news:
        return f"the operator has not looked yet at what was changed or asked for since build {current.get('number')}"
    why = builds.waits_for(body)
    return f"build {current.get('number', 1)} waits: {why}" if why else ""


def _unseen(cluster: kubectl.Kubectl, body: builds.Body, current: builds.Body, seen: set[str]) -> live.Pod | None:
    pods = cluster.pods(str(current.get("job") or ""), body["metadata"]["namespace"]) if current.get("job") else []
    return next((pod for pod in pods if live.started(pod) and pod["metadata"]["uid"] not in seen), None)
