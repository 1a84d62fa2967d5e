"""ImageBuilds as they are in use, most of them finished: their statuses are what `decide` itself makes of them. Pure."""

from __future__ import annotations

import json
from typing import Any

from strata_builder import contract
from strata_operator import names
from strata_operator.imagebuild import inputs, spec
from support import imagebuilds

Body = dict[str, Any]
NAMESPACES = 50
REGISTRY = names.Key("scale-registry", "main")
LABEL = {"scale": "yes"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"

_SPACE, _NAME = "zz-space-zz", "zz-name-zz"
_FAILED = (5, 19)
_STEPS = (
    ("FROM docker.io/library/python:3.11-slim@sha256:" + "1b" * 32, True),
    ("WORKDIR /srv/app", True),
    ("COPY requirements.txt constraints.txt ./", True),
    ("RUN pip install --no-cache-dir -r requirements.txt -c constr", False),
    ("COPY src/ ./src/", False),
    ("RUN python -m compileall -q src && useradd --system app", False),
    ("USER app", False),
    ('ENTRYPOINT ["python", "-m", "app.main"]', False),
)
_LOG = "\n".join(f"#{i:<3} 0.{i:03d} ERROR: could not find a version that satisfies package-{i}" for i in range(12))


def namespaces() -> list[Body]:
    """All that ImageBuilds lie in, and that of their Registry."""
    spaces = [f"scale-{i:02d}" for i in range(NAMESPACES)]
    return [{"metadata": {"name": name, "labels": LABEL}} for name in (*spaces, REGISTRY.namespace)]


def registry(host: str) -> Body:
    """The one Registry, open to all these namespaces."""
    access = {"namespaces": "Selector", "selector": {"matchLabels": LABEL}, "sharedCredentials": True}
    return {
        "apiVersion": names.API_VERSION,
        "kind": "Registry",
        "metadata": {"name": REGISTRY.name, "namespace": REGISTRY.namespace},
        "spec": {"external": {"host": host, "insecure": True}, "access": access},
    }


def build(index: int, kind: str = "app") -> Body:
    """The ImageBuild `index` as a user applies it: six of ten from git at a commit, the others with inline files."""
    key = names.Key(f"scale-{index % NAMESPACES:02d}", f"{kind}-{index:05d}")
    wanted: Body = {"output": {"registry": {"name": REGISTRY.name, "namespace": REGISTRY.namespace}}}
    if index % 10 < 6:
        url = f"https://git.example/{key.namespace}/{key.name}.git"
        wanted["source"] = {"git": {"url": url, "revision": COMMIT}}
    else:
        wanted["source"] = {"inline": {"index.html": f"<h1>{key.name}</h1>\n" * 8, "robots.txt": "User-agent: *\n"}}
        wanted["dockerfile"] = {"inline": "FROM docker.io/library/busybox:1.36\nCOPY index.html robots.txt /www/\n"}
    labels = {"app.kubernetes.io/name": key.name, "team": key.namespace}
    labels |= {"flow": "yes"} if kind != "app" else {}
    return {
        "apiVersion": names.API_VERSION,
        "kind": "ImageBuild",
        "metadata": {"name": key.name, "namespace": key.namespace, "labels": labels},
        "spec": wanted,
    }


def result(digest: str, size: int, *, started: float) -> contract.BuildResult:
    """What push says of such a build."""
    steps = tuple(
        contract.Step(line, text, cached, "" if cached else "its files have changed", 0.0 if cached else 1.234, 4096)
        for line, (text, cached) in enumerate(_STEPS, start=1)
    )
    return contract.BuildResult(
        (contract.PlatformResult("linux/amd64", digest, size),),
        contract.SourceResult("main", COMMIT, "Serve robots.txt, too", "Jane Doe <jane@example.org>", 1_700_000_000),
        (contract.BaseImage("docker.io/library/python:3.11-slim", "sha256:" + "1b" * 32),),
        contract.Metrics(2.1, 7.5, 1.3, 48_000_000, 5_000_000, 4, 4, 6, 180_000_000),
        steps,
        started,
    )


def kind(index: int) -> tuple[bool, bool]:
    """Whether a finished one is from git, and whether it failed the last time, as one in ten has."""
    return index % 10 < 6, index % 20 in _FAILED


class Finished:
    """Statuses of ImageBuilds that were built some times, for a Registry as the API server has it."""

    def __init__(self, of: Body, digest: str, size: int, *, now: float) -> None:
        self._registry = of
        self._made = {
            (git, failed): self._template(git, failed, digest, size, now) for git, failed in map(kind, (0, 9, 19, 5))
        }

    def status(self, index: int, body: Body) -> Body:
        """The status of `body`, the ImageBuild `index`."""
        meta = body["metadata"]
        text, model = self._made[kind(index)]
        changes = dict(zip(_digests(model), _digests(body), strict=True))
        for old, new in (changes | {_SPACE: meta["namespace"], _NAME: meta["name"]}).items():
            text = text.replace(old, new)
        found: Body = json.loads(text)
        return found

    def _template(self, git: bool, failed: bool, digest: str, size: int, now: float) -> tuple[str, Body]:
        model = build(0 if git else 9)
        model["metadata"] |= {"name": _NAME, "namespace": _SPACE, "generation": 1, "uid": imagebuilds.UID}
        model["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
        world = imagebuilds.World(
            body={**model, "status": {"observedGeneration": -1}},
            registry=self._registry,
            namespace={"metadata": {"name": _SPACE, "uid": "n", "labels": LABEL}},
            now=now - 86_400,
        )
        for count in range(5):
            world.annotate(names.ANNOTATION_REBUILD, str(count))
            world.now += 60
            world.settle()
            world.now += 11
            _end(world, imagebuilds.ended(message=result(digest, size, started=world.now - 10)))
        if failed:
            world.annotate(names.ANNOTATION_REBUILD, "failed")
            world.settle()
            why = contract.Failure("RunFailed", _LOG, file="Dockerfile", line=4, hint="see the log")
            _end(world, imagebuilds.ended("build", contract.ExitCode.RUN_FAILED, why))
        status = {name: value for name, value in world.status.items() if name != "lastHandledRebuild"}
        return json.dumps(status), {**model, "metadata": dict(model["metadata"])}


def _end(world: imagebuilds.World, status: Body) -> None:
    world.pod(status)
    world.finish(phase="Failed" if status["state"]["terminated"]["exitCode"] else "Succeeded")
    world.settle()


def _digests(body: Body) -> tuple[str, str]:
    """Of the fields and of the inputs: they name the ImageBuild's own repository and source."""
    wanted = spec.parse(body)
    repository = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
    commit = COMMIT if wanted.git else ""
    return inputs.fields(wanted), inputs.digest(wanted, repository=repository, commit=commit, config_maps={})
