"""End-to-end tests at work on the cluster: apply, wait, look at what came of it, run what was built."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from strata_builder import contract
from support import kubectl, patience

Body = dict[str, Any]
GROUP = "strata.build"
API_VERSION = f"{GROUP}/v1alpha1"
POD_SECURITY = "pod-security.kubernetes.io/enforce"
START = "make cluster-up images deploy"
REGISTRY = "main"
# spec.managed of a Registry from which no node pulls: it takes none of their ports.
HIDDEN: Body = {"storage": {"volume": {"size": "1Gi"}}, "nodeAccess": {"mode": "None"}}


def registry(port: int, name: str = REGISTRY, **spec: Any) -> Body:
    """A managed Registry with its data on a volume; `port` is the one by which nodes pull, one Registry's alone."""
    managed = {"storage": {"volume": {"size": "1Gi"}}, "nodeAccess": {"port": port}}
    return _object(API_VERSION, "Registry", name, {"managed": managed} | spec)


def image_build(
    name: str, dockerfile: str | Body = "", *, annotations: Mapping[str, str] | None = None, **spec: Any
) -> Body:
    """An ImageBuild that goes to the Registry `main` unless `spec` says otherwise.

    `dockerfile` is a text or `spec.dockerfile` itself.
    """
    fields: Body = {"output": {"registry": {"name": REGISTRY}}} | spec
    if dockerfile:
        fields["dockerfile"] = {"inline": dockerfile} if isinstance(dockerfile, str) else dockerfile
    made = _object(API_VERSION, "ImageBuild", name, fields)
    made["metadata"]["annotations"] = dict(annotations or {})
    return made


def secret(name: str, **values: str) -> Body:
    """A Secret; a key `ca_crt` becomes `ca.crt`."""
    data = {key.replace("_crt", ".crt"): value for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def config_map(name: str, data: Mapping[str, str]) -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}


def _object(api_version: str, kind: str, name: str, spec: Body) -> Body:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


@dataclass
class Namespace:
    """One namespace of the cluster and what a test does there."""

    k: kubectl.Kubectl
    name: str

    def __call__(self, *words: str, body: Any = None) -> str:
        return self.k("-n", self.name, *words, body=body)

    def ask(self, *words: str, body: Any = None) -> kubectl.Answer:
        return self.k.ask("-n", self.name, *words, body=body)

    def apply(self, *given: Body | str | Path) -> None:
        """Objects, YAML texts or files. An object that names no namespace comes into this one."""
        for one in given:
            text = one.read_text() if isinstance(one, Path) else one
            if isinstance(text, str):
                self.k("apply", "-f", "-", text=text)
            else:
                self.k.apply(text, namespace=self.name)

    def get(self, kind: str, name: str) -> Body:
        """The object. Fails if there is none."""
        found = self.k.get(kind, name, namespace=self.name)
        assert found is not None, f"{kind} {name} is not in namespace {self.name}"
        return found

    def all(self, kind: str, selector: str = "") -> list[Body]:
        query = {"labelSelector": selector} if selector else {}
        found = self.k.get(kind, namespace=self.name, **query) or {}
        items: list[Body] = found.get("items", [])
        return items

    def status(self, name: str, kind: str = "imagebuild") -> Body:
        status: Body = self.get(kind, name).get("status", {})
        return status

    def notes(self, name: str) -> list[str]:
        """Of all Events about an object of this name."""
        return [e.get("note", "") for e in self.all("events.events.k8s.io") if e["regarding"]["name"] == name]

    def conditions(self, name: str, kind: str = "imagebuild") -> dict[str, Body]:
        return {c["type"]: c for c in self.status(name, kind).get("conditions", [])}

    def jobs(self, name: str) -> list[str]:
        """Names of the Jobs of an ImageBuild, oldest first."""
        uid = self.get("imagebuild", name)["metadata"]["uid"]
        owned = [j for j in self.all("jobs") if any(o["uid"] == uid for o in _owners(j))]
        return [j["metadata"]["name"] for j in sorted(owned, key=lambda j: str(j["metadata"]["creationTimestamp"]))]

    def pods(self, name: str) -> list[Body]:
        """The builder pods of an ImageBuild."""
        wanted = {*self.jobs(name)}
        return [p for p in self.all("pods") if any(o["name"] in wanted for o in _owners(p))]

    def until(self, what: str, condition: Callable[[], Any], *, seconds: float = 60, name: str = "") -> Any:
        """What `condition` returns once it is true; on time-out status and events of the namespace are shown."""
        found = patience.look(condition, seconds=seconds)
        assert found, f"not within {seconds:.0f} s: {what}\n{self.report(name)}"
        return found

    def wait(
        self,
        name: str,
        condition: str = "Ready",
        status: str = "True",
        *,
        reason: str = "",
        kind: str = "imagebuild",
        seconds: float = 120,
    ) -> Body:
        """Waits for a condition of the object's present generation; gives its status.

        Fails at once if the object is Stalled although something else is waited for.
        """

        def met() -> Body | None:
            found = self.get(kind, name)
            now = {c["type"]: c for c in found.get("status", {}).get("conditions", [])}
            here = {t: c for t, c in now.items() if c["observedGeneration"] == found["metadata"]["generation"]}
            held = here.get(condition, {})
            if held.get("status") == status and reason in ("", held["reason"]):
                answer: Body = found["status"]
                return answer
            stalled = here.get("Stalled", {}).get("status") == "True" and (condition, status) == ("Ready", "True")
            assert not stalled, f"{kind} {name} is stalled: {here['Stalled']['message']}\n{self.report(name)}"
            return None

        text = f"{kind} {name}: {condition}={status} {reason}"
        found: Body = self.until(text, met, seconds=seconds, name=name)
        return found

    def build(self, body: Body, *, seconds: float = 120) -> Body:
        """Apply an ImageBuild and wait until it is Ready; gives its status."""
        self.apply(body)
        return self.wait(body["metadata"]["name"], seconds=seconds)

    def rebuild(self, name: str, token: str) -> Body:
        """Ask for another build; gives the status once that one has succeeded."""
        number = self.status(name)["current"]["number"]
        self("annotate", "--overwrite", "imagebuild", name, f"{GROUP}/rebuild={token}")

        def done() -> Body | None:
            status = self.status(name)
            ended = [b for b in status.get("builds", []) if b["number"] > number]
            assert not any(b["result"] == "Failed" for b in ended), self.report(name)
            return status if any(b["result"] == "Succeeded" for b in ended) else None

        found: Body = self.until(f"a rebuild of {name}", done, seconds=120, name=name)
        return found

    def logs(self, name: str) -> str:
        """Everything that every container of an ImageBuild's pods has written."""
        return "".join(
            self.ask("logs", pod["metadata"]["name"], "--all-containers", "--tail=-1").out for pod in self.pods(name)
        )

    def run(self, image: str, name: str = "app", *, seconds: float = 60, **container: Any) -> str:
        """Runs a Pod of `image` to its end as the strictest Pod Security level wants it; gives its log."""
        self.start(image, name, **container)
        self.until(f"the end of Pod {name}", lambda: self._phase(name) in ("Succeeded", "Failed"), seconds=seconds)
        log = self("logs", name)
        assert self._phase(name) == "Succeeded", f"Pod {name} failed: {log}"
        return log

    def start(self, image: str, name: str = "app", **container: Any) -> None:
        """Starts a Pod of `image` with the operator's pull secret."""
        self.ask("delete", "pod", name, "--now", "--ignore-not-found")
        self.apply(_pod(image, name, container))

    def serve(self, image: str, name: str = "web", *, port: int = 8080, path: str = "", **container: Any) -> str:
        """Starts a Pod of `image`; gives what it answers over HTTP, through the API server's proxy."""
        self.start(image, name, **container)
        self("wait", "pod", name, "--for=condition=Ready", "--timeout=60s")
        return self.answer(name, port=port, path=path)

    def answer(self, pod: str, *, port: int = 8080, path: str = "") -> str:
        where = f"/api/v1/namespaces/{self.name}/pods/{pod}:{port}/proxy/{path}"
        answers = [kubectl.Answer(1, "", "")]

        def asked() -> bool:
            answers[0] = self.k.ask("get", "--raw", where)
            return answers[0].code == 0

        self.until(f"an answer of Pod {pod}", asked, seconds=20)
        return answers[0].out

    def _phase(self, pod: str) -> str:
        return str(self.get("pod", pod).get("status", {}).get("phase", ""))

    def manifest_digest(self, build: str, tag: str = "latest") -> str:
        """The digest that the managed Registry itself has for a tag of this build's repository."""
        status = self.status(build)
        host, _, rest = status["references"]["push"].partition("/")
        return str(_in_node(self, host, rest.partition("@")[0], tag)["digest"])

    def tags(self, *builds: str, registry: str = REGISTRY) -> dict[str, Body]:
        """What a managed Registry of this namespace has: build -> tag -> {digest, labels of the image's config}."""
        host = self.status(registry, "registry")["endpoints"]["push"]
        places = {build: f"{self.name}/{build}" for build in builds}
        found = _ask_registry(self, host, "registry_tags.py", repositories=list(places.values()))
        return {build: found[place] for build, place in places.items()}

    def manifests(self, registry: str = REGISTRY) -> list[str]:
        """Every manifest that a managed Registry of this namespace stores, tagged or not, as repository@digest; lists of
        logs, which failed builds have, too, are left out."""
        links = ("find", "/var/lib/registry", "-path", "*/_manifests/*/sha256/*", "-name", "link")
        paths = self("exec", f"deployment/strata-{registry}", "--", *links).split()
        found = [re.fullmatch(r".*/repositories/(.*)/_manifests/(.*)/sha256/([0-9a-f]+)/link", path) for path in paths]
        logs = {(m[1], m[3]) for m in found if m and m[2].startswith(f"tags/{contract.LOG_TAG_PREFIX}")}
        stored = [(m[1], m[3]) for m in found if m and m[2] == "revisions"]
        return [f"{repository}@sha256:{digest}" for repository, digest in stored if (repository, digest) not in logs]

    def image_config(self, build: str) -> str:
        """Manifest and config of the image as text, read from the managed Registry."""
        host, _, rest = self.status(build)["references"]["push"].partition("/")
        repository, _, digest = rest.partition("@")
        return str(_in_node(self, host, repository, digest)["text"])

    def image_entries(self, build: str) -> dict[str, str]:
        """A listing of the image's layers, read from the managed Registry."""
        host, _, rest = self.status(build)["references"]["push"].partition("/")
        repository, _, digest = rest.partition("@")
        entries: dict[str, str] = _in_node(self, host, repository, digest, entries=True)["entries"]
        return entries

    def report(self, name: str = "") -> str:
        """For failures: what the API server shows of builds, events and pods here."""
        parts = [self.ask("get", "imagebuilds,registries,jobs,pods", "-o", "wide").out]
        if name:
            parts.append(
                yaml.safe_dump(self.status(name)) if self.k.get("imagebuild", name, namespace=self.name) else ""
            )
        parts.append(self.ask("get", "events", "--sort-by=.lastTimestamp").out[-4000:])
        return "\n".join(parts)


def _owners(body: Body) -> Sequence[Body]:
    owners: Sequence[Body] = body["metadata"].get("ownerReferences", ())
    return owners


def _pod(image: str, name: str, container: Mapping[str, Any]) -> Body:
    confined = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "imagePullSecrets": [{"name": "strata-pull"}],
        "containers": [{"name": "app", "image": image, "securityContext": confined, **container}],
    }
    return _object("v1", "Pod", name, spec)


def _in_node(here: Namespace, host: str, repository: str, reference: str, *, entries: bool = False) -> Body:
    return _ask_registry(here, host, "show_image.py", repository=repository, reference=reference, entries=entries)


def _ask_registry(here: Namespace, host: str, program: str, **task: Any) -> Body:
    """Asks a managed Registry from within the node, where its Service can be reached."""
    auths = json.loads(base64.b64decode(here.get("secret", "strata-push")["data"][".dockerconfigjson"]))["auths"]
    user, _, password = base64.b64decode(auths[host]["auth"]).decode().partition(":")
    name, namespace = host.partition(".svc")[0].removeprefix("strata-").split(".")
    registry = here.k.get("registry", name, namespace=namespace) or {}
    task |= {"host": host, "username": user, "password": password, "ca": registry["status"].get("caBundle", "")}
    argv = kubectl.inside(
        here.k.where, str(kubectl.CHECKOUT / ".venv/bin/python"), str(kubectl.CHECKOUT / "tests/support" / program)
    )
    environment = kubectl.environment()
    done = subprocess.run(argv, input=json.dumps(task), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: Body = json.loads(done.stdout)
    return answer
