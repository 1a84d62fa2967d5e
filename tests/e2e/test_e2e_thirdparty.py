"""Projects that know nothing of Strata, each from its own Dockerfile as it was released."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import e2e, git_server, go_modules, kubectl, sdists

SECONDS = 900  # both install packages of Debian
COREDNS = "github.com/coredns/coredns"
BLACK = sdists.Sdist("black", "23.1.0", "b0bd97bea8903f5a2ba7219257a44e3f1f9d00073d6cc1add68f0beec69692ac")
# What CoreDNS is based on unless one says otherwise, as far as a program without libraries can tell.
DISTROLESS = """\
FROM debian:bookworm-slim AS debian
FROM scratch
COPY --from=debian /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=debian /etc/os-release /etc/
COPY passwd group /etc/
WORKDIR /home/nonroot
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532
"""
PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
GROUP = "root:x:0:\nnonroot:x:65532:\n"


@pytest.fixture(scope="module")
def served(here: str) -> Iterator[git_server.HttpServer]:
    """A git server without repositories; they go below its root."""
    with (
        tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as folder,
        git_server.HttpServer(Path(folder), host=here) as server,
    ):
        yield server


def publish(repository: git_server.Repository, server: git_server.HttpServer) -> e2e.Body:
    """`spec.source` of all that lies in the repository's folder, ignored files too."""
    git_server.git("add", "--all", "--force", cwd=repository.folder)
    commit = repository.commit({}, "Release")
    return {"git": {"url": f"{server.url}/{repository.bare.name}", "revision": commit}}


# -- Black: two stages on python:3-slim, a comment within a RUN, a virtual environment, Debian's and Python's packages --


@pytest.mark.slow
def test_black_is_built_and_formats(baseline, served, times):
    repository = git_server.Repository.make(served.root, "black")
    sdists.unpack(BLACK, repository.folder)
    status = baseline.build(e2e.image_build("black", source=publish(repository, served)), seconds=SECONDS)
    times("black, cold", status["metrics"])
    assert baseline.run(status["image"], args=["black", "--version"]).startswith(f"black, {BLACK.version} ")
    code = ["black", "--code", "x = {  'a':1 }"]
    assert baseline.run(status["image"], args=code).strip() == 'x = {"a": 1}'


# -- CoreDNS: ARGs before FROM, --platform, a base image from elsewhere, a file capability, USER by name, .dockerignore --


@pytest.fixture(scope="module")
def coredns(served, strata) -> e2e.Body:
    """`spec.source` of CoreDNS with its program, which its Dockerfile takes from the context."""
    repository = git_server.Repository.make(served.root, "coredns")
    go_modules.find(COREDNS).copy_to(repository.folder)
    shutil.copy(strata.where.bin_dir / "coredns", repository.folder)
    return publish(repository, served)


@pytest.fixture(scope="module")
def elsewhere(strata, tmp_path_factory) -> e2e.Body:
    """An entry of `spec.mirrors` by which CoreDNS's base image is found."""
    context, host = tmp_path_factory.mktemp("distroless"), strata.where.registry
    for name, text in {"Dockerfile": DISTROLESS, "passwd": PASSWD, "group": GROUP}.items():
        (context / name).write_text(text)
    argv = [kubectl.CHECKOUT / ".venv/bin/strata", "build", "--registry-mirror", f"docker.io=http://{host}", "--push"]
    argv += ["--insecure-registry", host, "--tag", f"{host}/distroless/static-debian12:nonroot", context]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {"upstream": "gcr.io", "endpoint": f"http://{host}"}


@pytest.mark.slow
def test_coredns_is_built_with_its_capability_in_both_isolations(coredns, elsewhere, namespaces, ports, times):
    digests = {}
    for isolation, level in (("InPlace", "baseline"), ("UserNS", "privileged")):
        place = namespaces(level, "coredns")
        place.apply(e2e.registry(next(ports), mirrors=[elsewhere]))
        args = [{"name": "DEBIAN_IMAGE", "value": "debian:bookworm-slim"}]
        spec = {"source": coredns, "args": args, "sourceDateEpoch": 1_709_294_400, "isolation": isolation}
        status = place.build(e2e.image_build("coredns", **spec), seconds=SECONDS)
        times(f"coredns {isolation}, cold", status["metrics"])
        assert status["current"]["isolation"] == isolation
        digests[isolation] = status["digest"]
        assert answers(place, status["image"], capabilities=["NET_BIND_SERVICE"])
        assert not answers(place, status["image"], capabilities=[])  # the kernel refuses what it cannot give
    assert digests["InPlace"] == digests["UserNS"]


def answers(place: e2e.Namespace, image: str, capabilities: list[str]) -> bool:
    """Whether the program starts, with no other capabilities in reach, as the user that the image names."""
    confined = {"capabilities": {"drop": ["ALL"], "add": capabilities}}
    place.start(image, "coredns", args=["-version"], securityContext=confined)
    place.until("the end of Pod coredns", lambda: ended(place), seconds=60)
    return ended(place)["exitCode"] == 0 and place("logs", "coredns").startswith("CoreDNS-")


def ended(place: e2e.Namespace) -> e2e.Body:
    """How the Pod's container ended; empty while it has not."""
    found: list[e2e.Body] = place.get("pod", "coredns").get("status", {}).get("containerStatuses", [])
    return found[0]["state"].get("terminated", {}) if found else {}
