"""Recordings of the suites: made once by running the suites' own tables, then kept in the cache under a hash of all that
makes them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import folders, locks, progress, toolchain
from differential.builds import programs
from differential.suites import modules, recorded

HERE = Path(__file__).parent
PREFIX = "strata.build/tests/differential/suites"
FIRST = 1_300_000_000
BUILDAH_STUBS = {
    "github.com/containers/buildah/copier": "copier",
    "github.com/fsouza/go-dockerclient": "docker",
    "github.com/stretchr/testify/require": "require",
    "go.podman.io/image/v5/types": "types",
}


MOBY_STUBS = {
    "testing": "testing",
    "github.com/moby/buildkit/frontend/dockerfile/command": "command",
    "github.com/moby/go-archive": "archive",
    "github.com/moby/go-archive/compression": "compression",
    "github.com/moby/moby/client/pkg/versions": "versions",
    "github.com/moby/moby/v2/integration-cli/cli": "cli",
    "github.com/moby/moby/v2/integration-cli/cli/build": "build",
    "github.com/moby/moby/v2/internal/testutil": "testutil",
    "github.com/moby/moby/v2/internal/testutil/fakecontext": "fakecontext",
    "github.com/moby/moby/v2/internal/testutil/fakegit": "fakegit",
    "github.com/moby/moby/v2/internal/testutil/fakestorage": "fakestorage",
    "github.com/opencontainers/go-digest": "digest",
    "gotest.tools/v3/assert": "assert",
    "gotest.tools/v3/assert/cmp": "is",
    "gotest.tools/v3/icmd": "icmd",
    "gotest.tools/v3/skip": "skip",
}


MODULES = {
    "buildah": modules.BUILDAH,
    "buildkit": modules.BUILDKIT,
    "kaniko": modules.KANIKO,
    "moby": modules.MOBY,
}


def place(suite: str) -> Path:
    """Where a suite's recording is, or would be."""
    return folders.cache() / "suites" / f"{suite}-{_key(suite)}"


def is_kept(suite: str) -> bool:
    """Whether the suite was recorded here."""
    return place(suite).exists()


def buildah() -> Path:
    """buildah's conformance suite."""
    return _kept("buildah", _record_buildah)


def kaniko() -> Path:
    """kaniko's integration Dockerfiles."""
    return _kept("kaniko", _record_kaniko)


def buildkit(address: str) -> Path:
    """BuildKit's frontend tests; `address` is of a daemon on which they run, with busybox and Alpine at hand."""
    return _kept("buildkit", lambda module, target: _record_buildkit(module, target, address))


def moby() -> Path:
    """moby's tests of `docker build`. Those of its other files are about limits of containers and docker's API."""
    return _kept("moby", _record_moby)


def _kept(suite: str, record: Callable[[Path, Path], None]) -> Path:
    target, module = place(suite), MODULES[suite]
    with locks.held(f"suite-{suite}"):
        if not target.exists():
            with progress.step(f"recording the cases of {module.path} {module.version}, once", "a minute or two"):
                unfinished = target.with_name(f".{target.name}.unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
                record(modules.fetch(module), unfinished)
                _set_times(unfinished)
            unfinished.rename(target)
    return target


def _set_times(folder: Path) -> None:
    """A time of its own for every file: BuildKit takes one of the same name, size and time for one that it has."""
    for number, path in enumerate(sorted(folder.rglob("*"))):
        os.utime(path, (FIRST + number, FIRST + number), follow_symlinks=False)


def _key(suite: str) -> str:
    digest = hashlib.sha256(MODULES[suite].sum.encode())
    sources = [Path(__file__), *(path for part in (suite, "cut") for path in sorted((HERE / part).rglob("*.*")))]
    for path in sources:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _record_buildah(module: Path, target: Path) -> None:
    suite = module / "tests" / "conformance"
    cut = _cut(suite / "conformance_test.go", "buildah", ["internalTestCases"], BUILDAH_STUBS)
    _run("buildah", cut, str(suite / "testdata"), str(target))


def _record_kaniko(module: Path, target: Path) -> None:
    suite = module / "integration"
    names = ["argsMap", "envsMap", "additionalDockerFlagsMap"]
    tables = json.loads(_run("kaniko", _cut(suite / "images.go", "kaniko", names, {})))
    shutil.copytree(suite, target / "integration", copy_function=shutil.copyfile)
    for folder in target.rglob("*/"):
        folder.chmod(0o755)
    cases = [_kaniko_case(path, target, tables) for path in sorted((suite / "dockerfiles").glob("Dockerfile*"))]
    own = sorted((suite / "dockerfiles-with-context").glob("*/Dockerfile"))
    cases += [
        {
            "name": path.parent.name,
            "context": f"integration/dockerfiles-with-context/{path.parent.name}",
            "dockerfile": path.name,
            "fails": False,
        }
        for path in own
    ]
    (target / recorded.FILE).write_text(json.dumps([case for case in cases if case], indent=1))


def _kaniko_case(path: Path, target: Path, tables: dict[str, dict[str, list[str]]]) -> dict[str, object] | None:
    """None for what only goes with a Dockerfile."""
    if path.suffix == ".dockerignore":
        return None
    name = path.name
    values = dict(item.partition("=")[::2] for item in tables["env"].get(name, []))
    arguments = [item if "=" in item else f"{item}={values.get(item, '')}" for item in tables["args"].get(name, [])]
    flags = [flag.removeprefix("--").split("=", 1) for flag in tables["flags"].get(name, [])]
    settings = [["arg", item] for item in arguments] + flags
    place = {"context": "integration", "dockerfile": f"dockerfiles/{name}"}
    return {"name": name, **place, "settings": settings, "fails": False}


def _record_moby(module: Path, target: Path) -> None:
    cut = _cut(module / "integration-cli" / "docker_cli_build_test.go", "moby", [], MOBY_STUBS)
    _run("moby", cut, str(target))


def _record_buildkit(module: Path, target: Path, address: str) -> None:
    """The tests are run as they are. What they find is of no matter: they want containerd, registries and the like."""
    with tempfile.TemporaryDirectory(prefix="strata-suite-") as scratch:
        copied = Path(scratch, "buildkit")
        shutil.copytree(module, copied, copy_function=shutil.copyfile)
        package = copied / "frontend" / "dockerfile"
        shutil.copyfile(HERE / "buildkit" / "record.go.txt", package / "strata_record_test.go")
        program = Path(scratch, "record.test")
        settings = {"GOTOOLCHAIN": "auto", "CGO_ENABLED": "0"}
        _go(package, "test", "-trimpath", "-c", "-o", str(program), ".", **settings)
        recorded_to = {"RECORD_FOLDER": str(target), "RECORD_ADDRESS": address, "TMPDIR": scratch}
        path = f"{programs.BUILDKIT.ensure()}:{os.environ.get('PATH', os.defpath)}"
        ended = subprocess.run(
            [str(program), "-test.run", "^TestRecord$"],
            cwd=package,
            env={**os.environ, **recorded_to, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if not (target / recorded.FILE).exists():
            raise modules.Missing(f"BuildKit's tests left no cases:\n{ended.stdout[-3000:]}")


def _cut(source: Path, name: str, names: Sequence[str], stubs: dict[str, str]) -> str:
    flags = [word for of, stub in stubs.items() for word in ("-stub", f"{of}={stub}")]
    return _go(HERE / "cut", "run", ".", "-file", str(source), "-module", f"{PREFIX}/{name}", *flags, *names)


def _run(name: str, cut: str, *arguments: str) -> str:
    """What the recorder in folder `name` prints, compiled together with what was cut out."""
    with tempfile.TemporaryDirectory(prefix="strata-suite-") as scratch:
        folder = Path(scratch, name)
        shutil.copytree(HERE / name, folder)
        (folder / "cut.go").write_text(cut)
        return _go(folder, "run", ".", *arguments, TMPDIR=scratch)


def _go(folder: Path, *arguments: str, **settings: str) -> str:
    go = toolchain.find()
    toolchain.install(go)
    command = [str(go.program), *arguments]
    environment = {**os.environ, **toolchain.fixed(), **settings}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise modules.Missing(f"`{' '.join(command)}` in {folder}: {done.stderr[-3000:]}")
    return done.stdout
