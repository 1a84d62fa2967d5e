"""Twenty cases of the corpus in real pods: on each rung the digest that `strata build` gives on this machine.

Without STRATA_LONG a quarter of them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.builds import bases, cases, rungs, strata
from differential.builds.cases import Case
from differential.builds.site import Site
from differential.builds.test_builds_corpus import CORPUS
from support import e2e, faults, kubectl, registry_process
from support.file_server import Answer, FileServer

_ALL = (
    *("add/archive-over-existing", "config/workdir-with-user-name", "copy/case-twins", "copy/fifo-left-to-runs"),
    *("copy/odd-names", "heredocs/run", "mounts/bind-attributes", "mounts/cache", "run/background-process"),
    *("run/capabilities-of-lower-files", "run/directories-without-rights", "run/far-owners", "run/hard-links"),
    *("run/long-names", "run/removed-and-made-again", "run/renames", "run/set-user-id", "run/sticky-and-users"),
    *("run/whiteouts", "stages/copy-keeps-special-bits"),
)
CHOSEN = _ALL if faults.LONG else _ALL[3::4]
LEVELS = {"InPlace": "baseline", "UserNS": "privileged"}
SECONDS = 900


@pytest.fixture(scope="module")
def corpus() -> dict[str, Case]:
    return {name: cases.parse(name, (CORPUS / f"{name}.txt").read_text(errors="surrogateescape")) for name in CHOSEN}


@pytest.fixture(scope="module")
def site(strata: kubectl.Kubectl) -> Iterator[Site]:
    """On this machine, with the base images that the cluster's stand-in for docker.io gets, too."""
    program = registry_process.find_binary()
    if os.getuid() != 0 or program is None or strata.where.registry is None:
        pytest.skip("needs root, the cluster's programs, and a registry for base images")
    with tempfile.TemporaryDirectory(prefix="strata-e2e-", dir="/dev/shm") as folder:
        bases.push_testbase(strata.where.registry, Path(folder, "layout"))
        with Site(Path(folder), program.parent) as made:
            yield made


@pytest.fixture(scope="module")
def digests(site: Site, corpus: dict[str, Case]) -> dict[str, str]:
    """What each case gives here."""
    builder = strata.Strata(site)
    return {name: rungs.as_root(builder, case).digest for name, case in corpus.items()}


@pytest.fixture(scope="module")
def served(site: Site, corpus: dict[str, Case], here: str) -> Iterator[dict[str, e2e.Body]]:
    """`spec.source` of each case."""
    with FileServer({}, host=here) as server:
        sources: dict[str, e2e.Body] = {}
        for name, case in corpus.items():
            with site.written(case) as (_, made):
                archive = rungs.archive(made.context)
            server.answers[f"/{name}.tar"] = Answer(archive)
            digest = hashlib.sha256(archive).hexdigest()
            sources[name] = {"archive": {"url": f"{server.url}/{name}.tar", "sha256": digest}}
        yield sources


@pytest.mark.slow
@pytest.mark.parametrize("rung", LEVELS)
def test_pods_give_the_digests_of_this_machine(rung, namespaces, ports, served, digests):
    place = namespaces(LEVELS[rung], "rungs")
    place.apply(e2e.registry(next(ports)))
    place.wait(e2e.REGISTRY, kind="registry")
    names = {name: name.replace("/", "-") for name in CHOSEN}
    for name, called in names.items():
        spec = {"source": served[name], "sourceDateEpoch": strata.EPOCH, "isolation": rung}
        place.apply(e2e.image_build(called, **spec))
    found = {name: place.wait(called, seconds=SECONDS) for name, called in names.items()}
    assert {status["current"]["isolation"] for status in found.values()} == {rung}
    assert {name: status["digest"] for name, status in found.items()} == digests
