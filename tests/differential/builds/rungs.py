"""A case, built in each rung of isolation: on this machine as root and as a user without rights, and in a pod's roles."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

from differential.builds import folders, images, strata
from differential.builds.cases import Case
from differential.builds.site import Site
from strata_builder import contract
from strata_builder.oci import platform
from support import containers, pods, unprivileged

WRITTEN = ("request", *pods.SHARED, "scratch", "termination")


@dataclass(frozen=True, slots=True)
class Outcome:
    """An image, or in `refused` the first line of what was said instead; neither for what cannot be asked for there, and
    then `why` says so."""

    rung: str
    image: images.Image | None = None
    refused: str = ""
    why: str = ""

    @property
    def digest(self) -> str:
        """Empty where there is no image."""
        return self.image.digest if self.image else ""


def as_root(builder: strata.Strata, case: Case) -> Outcome:
    """In namespaces, with the machine's own ids."""
    with builder.site.written(case) as (work, made):
        return _outcome("root", builder.build(made, work / "strata.tar", folders.flags(case, made)[0]), made)


def rootless(site: Site, case: Case, cache: Path) -> Outcome:
    """In a user namespace, and otherwise as much elsewhere as can be: files of another owner in another folder, another
    umask, locale and time zone, and one processor instead of all. `cache` belongs to the user."""
    owner = (unprivileged.USER, unprivileged.USER)
    with site.written(case, owner) as (work, made):
        (work / "out").mkdir()
        (work / "user").mkdir()
        os.chown(work / "out", *owner)
        archive = work / "out/strata.tar"
        argv = strata.command(site, made, archive, folders.flags(case, made)[0])
        apart = ["taskset", "--cpu-list", "0", "sh", "-c", 'umask 077; exec "$@"', "sh"]
        env = {
            "STRATA_CACHE_DIR": str(cache),
            "SOURCE_DATE_EPOCH": str(strata.EPOCH),
            "PYTHONPATH": str(strata.BUILDER),
        }
        env |= {"HOME": str(work / "out"), "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
        ended = unprivileged.run([*apart, *argv], work / "user", env=env)
        return _outcome("rootless", strata.read(ended, archive, {}), made)


def in_pod(site: Site, case: Case) -> Outcome:
    """By the roles of a builder pod, as the operator would have it: Layers, and InPlace where a step has to run."""
    with site.written(case) as (work, made):
        if made.named:
            return Outcome("pod", why="an ImageBuild has no named contexts")
        asked = _request(site, case, _archive(made.context))
        texts = {name: path.read_text() for name, path in made.secrets.items()}
        with pods.Pod(work / "layers", _in(asked, "Layers"), secrets=texts) as pod:
            code = pod.start("all").wait(600)
            if code != contract.ExitCode.NEEDS_SANDBOX:
                return _told("Layers", pod, site)
        with pods.Pod(work / "in-place", _in(asked, "InPlace"), secrets=texts) as pod:
            pod.start(contract.PUSH)
            start_in_place(pod)
            pod.start(contract.FETCH)
            for container in pod.started:
                container.wait(600)
            return _told("InPlace", pod, site)


def start_in_place(pod: pods.Pod) -> pods.Container:
    """The container `build` of a pod, in a root of its own."""
    home = pod.home(contract.BUILD)
    (home / "termination").mkdir()
    places = {name: (home / name).resolve() for name in WRITTEN}
    with (home / "log").open("wb") as log:
        argv = ["-m", "strata_builder.pod", contract.BUILD]
        process = containers.start(argv, home / "container", places, stdout=log, stderr=log)
    container = pods.Container(home, process)
    pod.started.append(container)
    return container


def _outcome(rung: str, built: strata.Built, made: folders.Folders) -> Outcome:
    if built.image is not None:
        return Outcome(rung, built.image)
    said = built.said.rpartition("error: ")[2].replace(f"{made.context}/", "")
    return Outcome(rung, refused=_first_line(said))


def _told(rung: str, pod: pods.Pod, site: Site) -> Outcome:
    said = {container.home.name: container.said for container in pod.started}
    for message in said.values():
        if isinstance(message, contract.Failure):
            return Outcome(rung, refused=_first_line(message.message))
    result = said.get(contract.PUSH, said.get("all"))
    if isinstance(result, contract.BuildResult):
        return Outcome(rung, images.of(result.platforms[0].digest, site.blob, {}))
    logs = "\n".join(f"--- {container.home.name}\n{container.log}" for container in pod.started)
    raise AssertionError(f"the pod ended without a word:\n{logs}")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _archive(context: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(context.iterdir()):
            tar.add(path, path.name)
    return buffer.getvalue()


def _request(site: Site, case: Case, context: bytes) -> contract.BuildRequest:
    pairs = {key: tuple(_pair(value) for name, value in case.settings if name == key) for key in ("arg", "label")}
    return pods.request(
        site.registry,
        output=contract.Output(site.registry, f"team/{case.name.replace('/', '-').lower()}", insecure=True),
        source=contract.Source(archive=contract.ArchiveSource(site.serve("/context.tar", context))),
        dockerfile_path=case.setting("file") or "",
        target=case.setting("target") or "",
        platforms=(case.setting("platform") or str(platform.host()),),
        args=pairs["arg"],
        labels=pairs["label"],
        secrets=tuple(value.partition("=")[0] for name, value in case.settings if name == "secret"),
        source_date_epoch=strata.EPOCH if case.epoch is None else None,
        network="None" if case.setting("network") == "none" else "Cluster",
        mirrors=(contract.Mirror("docker.io", f"http://{site.registry}"),),
        cache=contract.Cache(mode="None"),
        timeout_seconds=600,
    )


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _in(asked: contract.BuildRequest, isolation: str) -> contract.BuildRequest:
    return replace(asked, isolation=isolation)
