"""The node's programs, compiled from the Go modules in this folder and cached under a hash of all that makes them."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cluster import errors, folders, locks, progress, toolchain

KUBERNETES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")
"""Names that the one binary of main.go answers to."""


@dataclass(frozen=True, slots=True)
class Build:
    """One call of `go build`."""

    folder: Path
    packages: tuple[str, ...]
    makes: tuple[str, ...]
    variables: tuple[str, ...]
    expected: str
    cgo: bool = False

    def flags(self) -> list[str]:
        """What follows `go build`, without the output.

        Static, so that the programs also run in an image without a C library.
        """
        link = " ".join(["-s -w", *(f"-X {variable}" for variable in self.variables)])
        return ["-trimpath", "-buildvcs=false", *(["-tags", "seccomp"] if self.cgo else []), "-ldflags", link]


def builds(source: Path) -> list[Build]:
    """What is compiled.

    The versions that programs show cannot be read from the module graph by the linker: repeated here.
    """
    version = "k8s.io/component-base/version"
    kubernetes = (
        f"{version}.gitVersion=v1.37.2",
        f"{version}.gitMajor=1",
        f"{version}.gitMinor=37",
        f"{version}.gitTreeState=clean",
    )
    containerd = "github.com/containerd/containerd/v2"
    plugins = "github.com/containernetworking/plugins/plugins"
    tools = (
        *(f"{containerd}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")),
        *(f"{plugins}/{name}" for name in ("main/bridge", "main/loopback", "ipam/host-local", "meta/portmap")),
        "sigs.k8s.io/cri-tools/cmd/crictl",
        "github.com/distribution/distribution/v3/cmd/registry",
        "github.com/coredns/coredns",
    )
    shown = (f"{containerd}/version.Version=2.4.2", "github.com/distribution/distribution/v3/version.version=v3.1.1")
    named = tuple(package.rpartition("/")[2] for package in tools)
    return [
        Build(source, (".",), ("cluster",), kubernetes, "5 to 10 minutes on 2 processors, the rest together 3"),
        Build(source, tools, named, shown, "about 2 minutes"),
        Build(source, ("github.com/opencontainers/runc",), ("runc",), ("main.version=1.4.3",), "10 s", cgo=True),
        Build(
            source / "helm",
            ("helm.sh/helm/v3/cmd/helm",),
            ("helm",),
            ("helm.sh/helm/v3/internal/version.version=v3.22.0",),
            "1 minute",
        ),
    ]


def key(source: Path, go: str) -> str:
    """The hash of everything that the programs are made from: module files, source, flags, version of Go."""
    parts = [(source / name).read_bytes() for name in ("go.mod", "go.sum", "main.go", "helm/go.mod", "helm/go.sum")]
    parts += [repr((build.packages, build.flags(), build.cgo)).encode() for build in builds(source)]
    digest = hashlib.sha256(go.encode())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def ensure() -> Path:
    """The folder of compiled programs; compiles them if it is not there."""
    go = toolchain.find()
    target = folders.cache() / "bin" / key(folders.SOURCE, go.version)
    if target.exists():
        return target
    with locks.held("binaries"):
        if not target.exists():
            toolchain.install(go)
            compile_all(go, target)
    return target


def compile_all(go: toolchain.Go, target: Path) -> None:
    """Compiles into a temporary folder beside the target, and renames it when it is whole."""
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    progress.say(f"compiling the node's programs, once: needs about 9 GB below {Path.home()} and 4 GB of memory")
    for build in builds(folders.SOURCE):
        with progress.step(f"compiling {', '.join(shown(build.makes))}", build.expected):
            compile_one(go, build, unfinished)
    # The folder's name is the last word of the module path, and so the name of its program.
    (unfinished / "cluster").rename(unfinished / "kubenode")
    for name in KUBERNETES:
        (unfinished / name).symlink_to("kubenode")
    unfinished.rename(target)


def compile_one(go: toolchain.Go, build: Build, output: Path, **variables: str) -> None:
    """Runs one `go build`, and says every half minute that it still runs; `variables` are further ones of its environment.

    Raises:
        errors.ClusterError: it failed.
    """
    command = [str(go.program), "build", *build.flags(), "-o", f"{output}/", *build.packages]
    environment = {**os.environ, **toolchain.fixed(), "CGO_ENABLED": "1" if build.cgo else "0", **variables}
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=build.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        said = ""
        while True:
            try:
                said = process.communicate(timeout=30)[0]
                break
            except subprocess.TimeoutExpired:
                progress.say(f"  still compiling, {time.monotonic() - started:.0f} s")
    if process.returncode:
        lines = [line for line in said.splitlines() if not line.startswith("go: downloading")]
        raise errors.ClusterError("`go build` failed:\n" + "\n".join(lines[-40:]))


def shown(names: Iterable[str]) -> list[str]:
    """The names as people know them."""
    return ["Kubernetes and etcd" if name == "cluster" else name for name in names]
