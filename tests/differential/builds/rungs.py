"""A case, built in each rung of isolation: on this machine as root and as a user without rights, and in a pod's roles."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from differential.builds import folders, images, strata
from differential.builds.cases import Case
from differential.builds.site import Site
from strata_builder import contract
from strata_builder.oci import platform
from support import bundles, pods, unprivileged

FS_GROUP = 65532
_RUN = re.compile(rb"^\s*RUN\s", re.MULTILINE | re.IGNORECASE)
WRITTEN = ("request", *pods.SHARED, "scratch")


@dataclass(frozen=True, slots=True)
class Outcome:
    """An image, or in `refused` the first line of what was said instead."""

    rung: str
    image: images.Image | None = None
    refused: str = ""

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


def in_pods(site: Site, runtime: bundles.Bundles, case: Case, *, every: bool = False) -> Iterator[Outcome]:
    """By the roles of a builder pod, as the operator would have it: in Layers, and where a step has to run, which an
    operator sees in the Dockerfile or a pod of Layers says, on both of the other rungs. With `every` on those in any case.
    Nothing comes of a case with named contexts, which an ImageBuild cannot have."""
    with site.written(case) as (work, made):
        if made.named:
            return
        asked = _request(site, case, archive(made.context))
        texts = {name: path.read_text() for name, path in made.secrets.items()}
        if not _RUN.search(made.dockerfile.read_bytes() if made.dockerfile.is_file() else b""):
            with pods.Pod(work / "Layers", replace(asked, isolation="Layers"), secrets=texts) as pod:
                if pod.start("all").wait(600) != contract.ExitCode.NEEDS_SANDBOX:
                    yield _told("Layers", pod, site)
                    if not every:
                        return
        for rung in ("InPlace", "UserNS"):
            with pods.Pod(work / rung, replace(asked, isolation=rung), secrets=texts) as pod:
                pod.start(contract.PUSH)
                _start_build(pod, runtime)
                pod.start(contract.FETCH)
                for container in pod.started:
                    container.wait(600)
                yield _told(rung, pod, site)


def _start_build(pod: pods.Pod, runtime: bundles.Bundles) -> None:
    """The container `build` of a pod, as a container runtime starts it."""
    home, scratch = pod.home(contract.BUILD), pod.folder / "bundle"
    scratch.mkdir()
    places = {f"{contract.HOME}/{name}": (home / name).resolve() for name in WRITTEN}
    places[f"{contract.ALIVE}/{contract.BUILD}"] = places[contract.ALIVE] / contract.BUILD
    places[contract.TERMINATION_LOG] = home / "termination/message"
    for folder in (places[f"{contract.ALIVE}/{contract.BUILD}"], home / "termination"):
        folder.mkdir()
    for name in ("scratch", "outputs"):  # as the kubelet gives a volume to the pod's fsGroup
        os.chown(home / name, 0, FS_GROUP)
        (home / name).chmod(0o2777)
    places[contract.TERMINATION_LOG].touch()
    with (home / "log").open("wb") as log:
        process = runtime.start(pod.request.isolation, places, scratch, log)
    pod.started.append(pods.Container(home, process))


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


def archive(context: Path) -> bytes:
    """A context as a tar, for spec.source.archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(context.iterdir()):
            tar.add(path, path.name, filter=lambda member: _with_xattrs(member, context / member.name))
    return buffer.getvalue()


def _with_xattrs(member: tarfile.TarInfo, path: Path) -> tarfile.TarInfo:
    """`member` with the extended attributes that users can give to files; their values are UTF-8 where Python writes them."""
    if member.isreg() or member.isdir():
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith("user."):
                value = os.getxattr(path, name, follow_symlinks=False)
                headers = {f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")}
                member.pax_headers = {**member.pax_headers, **headers}
    return member


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
