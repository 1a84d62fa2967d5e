"""A real etcd and kube-apiserver on loopback, with those controllers of kube-controller-manager that are asked for.

There is no scheduler and no kubelet: pods are made by the Job controller and then wait for whoever plays the node.
Its state is on tmpfs and goes with it.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from cluster import binaries, folders, pki, toolchain

_START_SECONDS = 300.0
_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
#: What a Job needs to become pods, and all that goes with it.
CONTROLLERS = (
    "job-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "ttl-after-finished-controller",
)


def find_binaries() -> Path | None:
    """The folder of the cluster's programs, None where nobody has compiled them yet (`make cluster-up` does)."""
    found = folders.cache() / "bin" / binaries.key(folders.SOURCE, toolchain.find().version)
    return found if all((found / name).exists() for name in _PROGRAMS) else None


class ControlPlane:
    """`kubeconfig` is the administrator's, `url` the API server's. Enter it to start it.

    With `audit` (a Policy of audit.k8s.io/v1 as text) requests are noted in the file `audit_log`.
    """

    def __init__(self, programs: Path, *, controllers: Sequence[str] = CONTROLLERS, audit: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="control-plane-", dir="/dev/shm"))
        self._programs = programs
        self._controllers = controllers
        self._audit = audit
        self._etcd, self._peer, self._port, self._manager = (_free_port() for _ in range(4))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._to_etcd: http.client.HTTPConnection | None = None
        self._of_thread = threading.local()
        self._connections: list[http.client.HTTPSConnection] = []
        self.kubeconfig = self.folder / "kubeconfig"
        self.audit_log = self.folder / "audit.log"
        self.url = f"https://127.0.0.1:{self._port}"

    @functools.cached_property
    def tls(self) -> ssl.SSLContext:
        """As the administrator."""
        context = ssl.create_default_context(cafile=str(self.folder / "pki/ca.crt"))
        context.load_cert_chain(self.folder / "pki/admin.crt", self.folder / "pki/admin.key")
        return context

    def pid(self, program: str) -> int:
        return self._running[program].pid

    def log(self, program: str) -> str:
        return (self.folder / f"{program}.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        try:
            self._make_keys()
            (self.folder / "audit.yaml").write_text(self._audit)
            self._start("etcd", self._etcd_flags())
            self._start("kube-apiserver", self._apiserver_flags())
            self._wait()
            if self._controllers:
                self._start("kube-controller-manager", self._manager_flags())
                self._wait_for_controllers()
            self._install()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._to_etcd, *self._connections):
            if connection is not None:
                connection.close()
        for process in reversed(self._running.values()):
            process.kill()
            process.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self, program: str) -> None:
        """End one of the programs with SIGKILL."""
        process = self._running.pop(program)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)

    def restart(self, program: str) -> None:
        """Kill one and start it again, with the same port and state."""
        if program in self._running:
            self.kill(program)
        flags = {"etcd": self._etcd_flags, "kube-apiserver": self._apiserver_flags}
        self._start(program, flags.get(program, self._manager_flags)())
        self._wait()

    def ask(
        self, method: str, path: str, body: object = None, *, content: str = "application/json", text: bool = False
    ) -> Any:
        """One request as the administrator; the answer's JSON, or its text. Raises RuntimeError with what was said."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content, "Accept": "application/json"}
        answer, said = self._answer(method, path, data, headers)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {said.decode(errors='replace')[:1000]}")
        return said.decode() if text else json.loads(said)

    def _answer(self, method: str, *request: Any) -> tuple[http.client.HTTPResponse, bytes]:
        """Over the thread's connection, since tests ask many times a second and a handshake costs more than an answer.

        It may have gone meanwhile; only what reads is asked again then, and what writes has a fresh one.
        """
        connection = self._connection()
        if method != "GET":
            connection.close()
        try:
            return _answered(connection, method, *request)
        except (OSError, http.client.HTTPException):
            connection.close()
            if method != "GET":
                raise
            return _answered(connection, method, *request)

    def _connection(self) -> http.client.HTTPSConnection:
        """The one of this thread, which connects by itself when it is used."""
        if not hasattr(self._of_thread, "connection"):
            made = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=60, context=self.tls)
            self._of_thread.connection = made
            self._connections.append(made)
        found: http.client.HTTPSConnection = self._of_thread.connection
        return found

    def apply(self, path: str, body: dict[str, Any]) -> Any:
        """Server-side apply of one object."""
        query = "?fieldManager=test&force=true"
        return self.ask("PATCH", path + query, body, content="application/apply-patch+yaml")

    def store(self, key: str, value: bytes) -> None:
        """Put a value under a key of etcd: what the API server would have stored, and tells its watchers of.

        Only for one of many objects like one that the API server made: it is not asked whether this is right.
        """
        if self._to_etcd is None:
            self._to_etcd = http.client.HTTPConnection("127.0.0.1", self._etcd, timeout=120)
        self._to_etcd.request("POST", "/v3/kv/put", json.dumps({"key": _base64(key.encode()), "value": _base64(value)}))
        answer = self._to_etcd.getresponse()
        said = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"etcd: {answer.status} {said.decode(errors='replace')[:1000]}")

    def _make_keys(self) -> None:
        pki.make(self.folder / "pki", "127.0.0.1", "strata-control-plane", self.kubeconfig)
        for config in (self.kubeconfig, *(self.folder / "pki").glob("*.kubeconfig")):
            config.write_text(config.read_text().replace("https://127.0.0.1:6443", self.url))

    def _start(self, program: str, flags: Sequence[str]) -> None:
        with (self.folder / f"{program}.log").open("ab") as log:
            self._running[program] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", str(self._programs / program), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for program, process in self._running.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{program} ended:\n{self.log(program)[-3000:]}")
            with contextlib.suppress(OSError, RuntimeError):
                self.ask("GET", "/readyz", text=True)  # with its own roles made, without which controllers end
                return
            time.sleep(0.1)
        raise RuntimeError(f"the API server did not become ready:\n{self.log('kube-apiserver')[-3000:]}")

    def _wait_for_controllers(self) -> None:
        """Until they have made what the first pod of a namespace needs."""
        deadline = time.monotonic() + _START_SECONDS
        while not self.ask("GET", "/api/v1/namespaces/default/serviceaccounts")["items"]:
            if self._running["kube-controller-manager"].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the controllers do not work:\n{self.log('kube-controller-manager')[-3000:]}")
            time.sleep(0.1)

    def _install(self) -> None:
        """Strata's CustomResourceDefinitions, established."""
        paths = sorted((folders.CHECKOUT / "crds").glob("*.yaml"))
        for path in paths:
            body = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
            self.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{body['metadata']['name']}", body)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                for path in paths:
                    self.ask("GET", f"/apis/strata.build/v1alpha1/{path.name.partition('.')[0]}?limit=1")
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def _etcd_flags(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        urls = [f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"]
        cluster = [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
        return ["--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn", *urls, *cluster]

    def _apiserver_flags(self) -> list[str]:
        keys = self.folder / "pki"
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--authorization-mode=RBAC",
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            "--allow-privileged=true",
            f"--client-ca-file={keys}/ca.crt",
            f"--tls-cert-file={keys}/apiserver.crt",
            f"--tls-private-key-file={keys}/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={keys}/sa.pub",
            f"--service-account-signing-key-file={keys}/sa.key",
            "--service-cluster-ip-range=10.96.0.0/16",
            *(
                [f"--audit-policy-file={self.folder}/audit.yaml", f"--audit-log-path={self.audit_log}"]
                if self._audit
                else []
            ),
        ]

    def _manager_flags(self) -> list[str]:
        keys = self.folder / "pki"
        return [
            f"--kubeconfig={keys}/controller-manager.kubeconfig",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._manager}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            f"--controllers={','.join(self._controllers)}",
            f"--root-ca-file={keys}/ca.crt",
            f"--service-account-private-key-file={keys}/sa.key",
            "--kube-api-qps=300",
            "--kube-api-burst=500",
            "--concurrent-job-syncs=20",
        ]


def _answered(connection: http.client.HTTPConnection, *request: Any) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request(*request)
    answer = connection.getresponse()
    return answer, answer.read()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
