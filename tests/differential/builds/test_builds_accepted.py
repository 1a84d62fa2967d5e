"""Strata's images are taken by the programs of others, and unpacked to exactly the files that their layers say."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from differential.builds import acceptors, cases, programs, unpacked
from differential.builds.strata import Strata
from differential.builds.test_builds_corpus import CORPUS

pytestmark = pytest.mark.root

EVERYTHING = "STRATA_EFFORT" in os.environ
NAME = "example.test/team/image:1"
CHOSEN = (
    "add/archive-with-attributes",
    "bases/layers-of-other-builders",
    "copy/odd-names",
    "run/hard-links",
    "run/removed-and-made-again",
    "run/special-files",
    "run/whiteouts",
    "stages/copy-keeps-special-bits",
)
PROGRAMS = ("umoci", "containers-storage", "containerd")
PAIRS = [(program, name) for name in CHOSEN for program in PROGRAMS]
TAKEN = PAIRS if EVERYTHING else PAIRS[::11]


def case(name: str) -> cases.Case:
    return cases.parse(name, (CORPUS / f"{name}.txt").read_text(errors="surrogateescape"))


@pytest.fixture(scope="module")
def containerd(strata: Strata) -> Iterator[acceptors.Containerd]:
    folder = strata.site.folder / "containerd"
    folder.mkdir()
    daemon = acceptors.Containerd(strata.site.node, folder)
    with daemon.running():
        yield daemon


@pytest.mark.parametrize(("program", "name"), TAKEN)
def test_an_image_unpacks_to_what_its_layers_say(
    program: str, name: str, strata: Strata, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with strata.archive(case(name), "-t", NAME) as (archive, image), contextlib.ExitStack() as stack:
        if program == "containerd":
            daemon: acceptors.Containerd = request.getfixturevalue("containerd")
            root = stack.enter_context(daemon.unpacked(archive, image.config["rootfs"]["diff_ids"]))
        else:
            storage = program == "containers-storage"
            root = (
                acceptors.containers_storage(f"oci-archive:{archive}", tmp_path)
                if storage
                else acceptors.umoci(archive, tmp_path)
            )
        assert unpacked.differences(unpacked.said(image), unpacked.found(root)) == []


FORMS = """\
-- Dockerfile --
FROM base-gzip
COPY --chown=1:2 d /d
RUN rm /bin/vi /d/one && ln /d/two /d/three && mkfifo /d/pipe
CMD ["/d/three"]
-- d/one --
1
-- d/two mode=4755 --
2
"""


@pytest.fixture(scope="module")
def crane(strata: Strata) -> Path:
    if not EVERYTHING and programs.CRANE.cached() is None:
        pytest.skip("crane is not compiled yet, which takes a minute: `make test-differential` does it")
    return programs.CRANE.ensure() / "crane"


@pytest.mark.parametrize("compression", ["gzip", "zstd"] if EVERYTHING else ["zstd"])
def test_every_form_of_an_image_is_valid_and_can_be_copied(
    compression: str, strata: Strata, crane: Path, tmp_path: Path
) -> None:
    pushed, docker, layout = (
        f"{strata.site.registry}/team/forms:{compression}",
        tmp_path / "docker.tar",
        tmp_path / "layout",
    )
    outputs = [f"type=docker,dest={docker}", f"type=oci,tar=false,dest={layout}"]
    flags = ["-t", pushed, "--push", "--compression", compression, *(word for text in outputs for word in ("-o", text))]
    with strata.archive(cases.parse("forms", FORMS), *flags) as (archive, image):
        # It looks into gzip alone; of other layers it can tell the digests and sizes.
        validate = [str(crane), "validate", *(["--fast"] if compression == "zstd" else [])]
        acceptors.run(*validate, "--insecure", "--remote", pushed)
        acceptors.run(*validate, "--tarball", str(docker))
        sources = (f"oci-archive:{archive}", f"oci:{layout}", f"docker-archive:{docker}", f"docker://{pushed}")
        for number, source in enumerate(sources):
            folder = tmp_path / str(number)
            folder.mkdir()
            acceptors.skopeo(source, f"dir:{folder}/dir")
            if compression == "gzip":  # skopeo knows no Docker archive of zstd
                acceptors.skopeo(source, f"docker-archive:{folder}/docker.tar:{NAME}")
            root = acceptors.containers_storage(source, folder)
            assert unpacked.differences(unpacked.said(image), unpacked.found(root)) == [], source


SEVERAL = """\
platform: linux/amd64,linux/arm64
-- Dockerfile --
FROM scratch
ARG TARGETARCH
COPY --chmod=600 $TARGETARCH /arch
-- amd64 --
of amd64
-- arm64 --
of arm64
"""


def test_an_image_of_several_platforms_is_one_index_everywhere(
    strata: Strata, crane: Path, containerd: acceptors.Containerd, tmp_path: Path
) -> None:
    pushed = f"{strata.site.registry}/team/several:1"
    with strata.archive(cases.parse("several", SEVERAL), "-t", pushed, "--push") as (archive, image):
        acceptors.run(str(crane), "validate", "--insecure", "--remote", pushed)
        assert acceptors.run(str(crane), "digest", "--insecure", pushed).strip() == image.digest
        acceptors.skopeo(f"oci-archive:{archive}", f"dir:{tmp_path}/all", all_platforms=True)
        assert len(list((tmp_path / "all").glob("*.manifest.json"))) == 2
        for architecture in ("amd64", "arm64"):
            folder = tmp_path / architecture
            root = acceptors.containers_storage(f"oci-archive:{archive}", folder, f"--override-arch={architecture}")
            assert (root / "arch").read_text() == f"of {architecture}\n"
        with containerd.unpacked(archive, image.config["rootfs"]["diff_ids"]) as root:
            assert (root / "arch").read_text() == "of amd64\n"
