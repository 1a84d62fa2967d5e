"""Two operators as processes before a real API server: either takes a delivery, and the one that acts looks at the source."""

import base64
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from strata_operator import leader, names
from support.controlplane import ControlPlane, find_binaries
from support.git_server import HttpServer, Repository
from support.hooking import TOKEN, signed
from support.operator_process import OperatorProcess, total

PROGRAMS = find_binaries()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAMS is None, reason="the programs are compiled by make cluster-up"),
]
SYSTEM = "/api/v1/namespaces/strata-system"
BODY = b'{"ref": "refs/heads/main"}'
ADDRESSES = {"strata-a": "127.0.0.2", "strata-b": "127.0.0.3"}


@pytest.fixture
def control() -> Iterator[ControlPlane]:
    assert PROGRAMS is not None
    with ControlPlane(PROGRAMS) as running:
        yield running


def until(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return found


def deliver(address: str, port: int) -> tuple[int, str]:
    url = f"http://{address}:{port}/hooks/team/web"
    request = urllib.request.Request(url, BODY, signed(BODY))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())["result"]
    except urllib.error.HTTPError as e:
        with e:
            return e.code, json.loads(e.read())["result"]


def furnish(control: ControlPlane, url: str) -> None:
    """Namespaces, the operators' pods with their addresses, and an ImageBuild that waits for its Registry."""
    for name in ("team", "strata-system"):
        control.apply(
            f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
    token = {"token": base64.b64encode(TOKEN.encode()).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "data": token}
    control.apply("/api/v1/namespaces/team/secrets/hook", secret)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    control.apply(f"{SYSTEM}/serviceaccounts/default", account)
    for name, address in ADDRESSES.items():
        spec = {"containers": [{"name": "operator", "image": "operator"}], "automountServiceAccountToken": False}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        control.apply(f"{SYSTEM}/pods/{name}", pod)
        status = {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}
        control.ask("PATCH", f"{SYSTEM}/pods/{name}/status", status, content="application/strategic-merge-patch+json")
    build = {
        "apiVersion": names.API_VERSION,
        "kind": "ImageBuild",
        "metadata": {"name": "web"},
        "spec": {
            "source": {"git": {"url": url, "revision": "main"}},
            "triggers": {"webhook": {"secretRef": {"name": "hook"}}},
            "output": {"registry": {"name": "main"}},
        },
    }
    control.apply("/apis/strata.build/v1alpha1/namespaces/team/imagebuilds/web", build)


def holder(control: ControlPlane) -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/strata-system/leases/{leader.LEASE}"
    return str(control.ask("GET", path)["spec"].get("holderIdentity", ""))


def test_either_takes_a_delivery_and_one_that_nobody_can_take_is_told_so(control: ControlPlane, tmp_path: Path) -> None:
    Repository.make(tmp_path / "git").commit({"a": "1"})
    with HttpServer(tmp_path / "git") as git, ExitStack() as stack:
        furnish(control, f"{git.url}/app.git")
        port = _free_port()
        operators = {
            name: OperatorProcess(
                control.kubeconfig,
                tmp_path / f"{name}.log",
                {
                    "POD_NAME": name,
                    "WEBHOOK_LISTEN": f"{address}:{port}",
                    "POLL_ALLOWED_CIDRS": "127.0.0.0/8",
                    "NODE_PROXY": "false",
                },
            )
            for name, address in ADDRESSES.items()
        }
        for operator in operators.values():
            stack.enter_context(operator)
            until(operator.ready, "ready")
        first = until(lambda: holder(control), "a holder")
        second = next(name for name in operators if name != first)
        operators[first].until(lambda m: total(m, "strata_leader") == 1, seconds=60, what="acting")
        until(lambda: git.log, "a first look")
        for name in (first, second):
            before = len(git.log)
            assert deliver(ADDRESSES[name], port) == (202, "accepted"), operators[name].log[-2000:]
            until(lambda: len(git.log) > before, f"a look because of a delivery to {name}")  # noqa: B023
        taken = {name: total(o.metrics(), "strata_webhooks_total", result="accepted") for name, o in operators.items()}
        assert taken == {first: 2, second: 1}  # the one that acts has taken that of the other as well
        operators[first].stop(kill=True)
        assert deliver(ADDRESSES[second], port) == (503, "unavailable")
        operators[second].until(lambda m: total(m, "strata_leader") == 1, seconds=120, what="taking over")
        before = len(git.log)
        assert deliver(ADDRESSES[second], port) == (202, "accepted")
        until(lambda: len(git.log) > before, "a look by who has taken over")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", 0))
        return int(sock.getsockname()[1])
