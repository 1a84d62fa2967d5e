"""The cluster, by the `kubectl` of whoever calls; what it says when something is wrong, told for people."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any, Final

from strata_builder import errors
from strata_builder.buildlog import text

IMAGEBUILDS: Final = "imagebuilds.strata.build"
REGISTRIES: Final = "registries.strata.build"
_ANSWER: Final = 60.0  # seconds
_OF_KLOG: Final = re.compile(r"[IWEF]\d{4} ")  # the same is said once more in words for people
_FORWARDS: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


class KubeError(errors.BuildError):
    """kubectl has failed; `retryable` if the API server did not answer."""

    reason = "InvalidSpec"


class NotFound(KubeError):
    pass


class Forbidden(KubeError):
    pass


class Unreachable(KubeError):
    retryable = True


class Kubectl:
    """`options` come before every command: --context, --kubeconfig."""

    def __init__(self, options: Sequence[str] = (), *, program: str = "kubectl") -> None:
        self._command = [program, *options]
        self._running: set[subprocess.Popen[str]] = set()

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        """An object; without a namespace in the one of the context. Raises KubeError."""
        return self._object(["get", kind, name, *_in(namespace), "-o", "json"], f"{kind.partition('.')[0]} {name}")

    def pods(self, job: str, namespace: str) -> list[dict[str, Any]]:
        """The pods of a Job, the newest first. Raises KubeError."""
        arguments = ["get", "pods", *_in(namespace), "-l", f"batch.kubernetes.io/job-name={job}", "-o", "json"]
        found = self._object(arguments, "pods").get("items") or []
        if not isinstance(found, list) or not all(isinstance(each, dict) and "metadata" in each for each in found):
            raise _no_answer(self._command[0], "pods")
        return sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)

    @contextlib.contextmanager
    def log(self, pod: str, container: str, namespace: str, *, follow: bool = False) -> Iterator[subprocess.Popen[str]]:
        """The process that prints the log of a container, each line with its time."""
        arguments = ["logs", pod, "-c", container, *_in(namespace), "--timestamps", *(["-f"] if follow else [])]
        with self._started(arguments) as process:
            assert isinstance(process.stdout, io.TextIOWrapper)
            process.stdout.reconfigure(newline="\n")  # what follows a carriage return has no time of its own
            yield process

    def stop(self) -> None:
        """Ends what still prints or forwards, for other threads."""
        for process in tuple(self._running):
            process.kill()

    @contextlib.contextmanager
    def forwarded(self, service: str, port: int, namespace: str) -> Iterator[int]:
        """A port of this machine that leads to a Service. Raises KubeError."""
        arguments = ["port-forward", f"service/{service}", f":{port}", "--address", "127.0.0.1", *_in(namespace)]
        with self._started(arguments) as process:
            assert process.stdout is not None
            found = _FORWARDS.match(process.stdout.readline())
            if not found:
                process.kill()
                raise fault(process.communicate()[1], f"service {service}")
            yield int(found[1])

    @contextlib.contextmanager
    def _started(self, arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        try:
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
        except FileNotFoundError as e:
            raise _missing(self._command[0]) from e
        self._running.add(process)
        with process:
            try:
                yield process
            finally:
                process.kill()
                self._running.discard(process)

    def _object(self, arguments: Sequence[str], what: str) -> dict[str, Any]:
        try:
            found = json.loads(self._run(arguments, what))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise _no_answer(self._command[0], what)
        return found

    def _run(self, arguments: Sequence[str], what: str) -> str:
        try:
            done = subprocess.run(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ANSWER,
                check=False,
                encoding="utf-8",
                errors="replace",
            )
        except FileNotFoundError as e:
            raise _missing(self._command[0]) from e
        except subprocess.TimeoutExpired as e:
            raise Unreachable(f"kubectl gave no answer within {_ANSWER:.0f} s") from e
        if done.returncode:
            raise fault(done.stderr, what)
        return done.stdout


def fault(said: str, what: str) -> KubeError:
    """The error for what kubectl wrote on standard error when it was asked for `what`. Pure."""
    lines = [line for line in said.split("\n") if not _OF_KLOG.match(line)]
    shown = text.last(lines, count=3, size=600) or "kubectl failed"
    if "doesn't have a resource type" in said:
        return KubeError(
            f"this cluster knows no {what.partition(' ')[0]}: Strata is not installed there, or the context is another's",
            hint="kubectl config current-context tells which cluster is asked; --context chooses another",
        )
    if "(NotFound)" in said:
        return NotFound(f"{what} is not there: {shown}", hint="check the name, and the namespace (-n)")
    if "(Forbidden)" in said:
        return Forbidden(
            f"you may not read {what}: {shown}",
            hint="it takes get on imagebuilds.strata.build, get and list on pods, and get on pods/log in this namespace; "
            "with a login to the registry alone: strata logs --from REPOSITORY",
        )
    if "(Unauthorized)" in said or "must be logged in" in said:
        return Forbidden(f"the cluster does not know you: {shown}", hint="log in again, as for kubectl")
    if any(words in said for words in ("Unable to connect", "was refused", "i/o timeout", "no such host")):
        return Unreachable(f"the cluster does not answer: {shown}", hint="check with: kubectl version")
    return KubeError(f"kubectl cannot get {what}: {shown}")


def _missing(program: str) -> KubeError:
    return KubeError(
        f"there is no {program} on this machine, and `strata logs` asks the cluster by it",
        hint="install kubectl, or name the repository: strata logs --from REGISTRY/REPOSITORY",
    )


def _no_answer(program: str, what: str) -> KubeError:
    return KubeError(
        f"{program} was asked for {what} and wrote no JSON that tells of it",
        hint="it must print what kubectl does, and nothing else, on standard output",
    )


def _in(namespace: str) -> list[str]:
    return ["-n", namespace] if namespace else []
