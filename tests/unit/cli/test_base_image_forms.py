"""Base images in every form that a registry may hold them, and what a build keeps of their configs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from differential.builds import images
from strata_builder import cli, contract
from strata_builder.oci import mediatypes
from support import base_images, testbase
from support.base_images import Layer, gzipped, index, on, tar
from support.fake_registry import FakeRegistry

CONTENT = tar(("b/", "d", 0o755), ("b/x", "x", 0o644))
LAYER = gzipped(CONTENT)
DOCKER = gzipped(CONTENT, media_type=mediatypes.DOCKER_LAYER_GZIP)
ATTESTATION = {"mediaType": mediatypes.OCI_MANIFEST, "digest": "sha256:" + "a" * 64, "size": 5}
Put = Callable[[FakeRegistry], object]
Build = Callable[[str], images.Image]


def index_of(*children: Callable[[FakeRegistry], Mapping[str, Any]], docker: bool = False) -> Put:
    def put(registry: FakeRegistry) -> dict[str, Any]:
        made = index(*(child(registry) for child in children), docker=docker)
        return base_images.put_manifest(registry, "base", made, docker=docker)

    return put


def image(registry: FakeRegistry) -> dict[str, Any]:
    return base_images.put(registry, "base", [LAYER])


def docker(registry: FakeRegistry) -> dict[str, Any]:
    return base_images.put(registry, "base", [DOCKER], docker=True)


def elsewhere(registry: FakeRegistry) -> dict[str, Any]:
    other = Layer(tar(("b/y", "y", 0o644)))
    document = base_images.config([other], architecture=base_images.ELSEWHERE)
    return on(base_images.put(registry, "base", [other], document), base_images.ELSEWHERE)


FORMS: dict[str, Put] = {
    "OCI manifest": image,
    "OCI manifest that does not say so": lambda registry: base_images.put(registry, "base", [LAYER], mediaType=...),
    "OCI manifest of Docker's layers": lambda registry: base_images.put(registry, "base", [DOCKER]),
    "Docker manifest": docker,
    "Docker manifest of OCI's layers": lambda registry: base_images.put(registry, "base", [LAYER], docker=True),
    "OCI index": index_of(elsewhere, lambda registry: on(image(registry))),
    "Docker list": index_of(elsewhere, lambda registry: on(docker(registry)), docker=True),
    "OCI index of Docker manifests": index_of(lambda registry: on(docker(registry))),
    "index with attestations": index_of(
        lambda _: on(ATTESTATION, "unknown", "unknown"), lambda registry: on(image(registry)), elsewhere
    ),
    "index of one image without a platform": index_of(image),
    "index of one image without a platform after one for another": index_of(elsewhere, image),
    "index of an index": index_of(index_of(elsewhere, lambda registry: on(image(registry)))),  # type: ignore[arg-type]
    "index of an index with a platform": index_of(
        elsewhere,
        lambda registry: on(index_of(lambda registry: on(image(registry)))(registry)),  # type: ignore[arg-type]
    ),
    "index that offers an artifact first": index_of(
        lambda _: on({**ATTESTATION, "mediaType": "application/vnd.example.thing"}),
        lambda registry: on(image(registry)),
    ),
}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: FakeRegistry) -> Build:
    monkeypatch.setenv("STRATA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    (tmp_path / "f").write_text("f")

    def run(instructions: str) -> images.Image:
        (tmp_path / "Dockerfile").write_text(f"FROM {registry.host}/base\n{instructions}")
        archive = tmp_path / "image"
        code = cli.main(["build", "--progress=quiet", "-o", f"type=oci,dest={archive}", str(tmp_path)])
        assert code == contract.ExitCode.OK
        return images.read(archive, {})

    return run


@pytest.mark.parametrize("put", [pytest.param(put, id=name) for name, put in FORMS.items()])
def test_a_base_of_any_form_becomes_an_oci_image_with_the_same_layers(
    build: Build, registry: FakeRegistry, put: Put
) -> None:
    put(registry)
    built = build("COPY f /b/\n")
    assert built.faults == []
    assert built.manifest["mediaType"] == mediatypes.OCI_MANIFEST
    assert built.manifest["layers"][0] == LAYER.descriptor()
    assert {layer["mediaType"] for layer in built.manifest["layers"]} == {mediatypes.OCI_LAYER_GZIP}
    assert [sorted(layer) for layer in built.layers] == [["b", "b/x"], ["", "b", "b/f"]]


LESS = {"amd64": ("386", ""), "arm64": ("arm", "v7")}
"""What each architecture runs beside its own."""


def test_an_index_without_this_platform_gives_what_runs_on_it(build: Build, registry: FakeRegistry) -> None:
    architecture, variant = LESS[testbase.ARCHITECTURE]

    def child(registry: FakeRegistry) -> dict[str, Any]:
        document = base_images.config([LAYER], architecture=architecture, variant=variant)
        described = on(base_images.put(registry, "base", [LAYER], document), architecture)
        described["platform"] |= {"variant": variant} if variant else {}
        return described

    index_of(elsewhere, child)(registry)
    built = build("COPY f /b/\n")
    assert built.manifest["layers"][0] == LAYER.descriptor()
    assert (built.config["architecture"], built.config.get("variant", "")) == (architecture, variant)


def test_a_layer_that_came_damaged_once_is_read_again(build: Build, registry: FakeRegistry) -> None:
    from support.fake_registry import Corrupt

    image(registry)
    registry.fault("GET", LAYER.descriptor()["digest"], Corrupt())
    assert build("COPY f /b/\n").faults == []


FULL: dict[str, Any] = {
    "User": "app:1",
    "WorkingDir": "/w",
    "Env": [testbase.PATH, "A=1", "EMPTY=", "SPACE=a b", "A2=\u00e9"],
    "Entrypoint": ["/e", ""],
    "Cmd": [],
    "Volumes": {"/v": {}},
    "ExposedPorts": {"99/udp": {}, "1/tcp": {}},
    "Labels": {"z": "last", "": "empty", "a": ""},
    "StopSignal": "SIGUSR1",
    "StopTimeout": 5,
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5000000000, "StartInterval": 7},
    "Shell": ["/bin/sh", "-ec"],
    "Hostname": "abc",
    "Domainname": "",
    "ArgsEscaped": True,
    "NetworkDisabled": True,
    "Tomorrow": {"deep": [1, {"x": None}]},
}
TOP: dict[str, Any] = {
    "author": "somebody",
    "variant": "v1",
    "os.version": "10.0",
    "os.features": ["f"],
    "docker_version": "1.10.3",
    "container": "abc",
    "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop)"]},
    "moby.buildkit.buildinfo.v1": "e30=",
    "tomorrow": {"a": 1.5},
}


def test_fields_of_the_base_that_no_instruction_changes_are_kept_also_unknown_ones(
    build: Build, registry: FakeRegistry
) -> None:
    layers = [LAYER, LAYER]
    history = [
        {"created": "2001-01-01T00:00:00Z", "created_by": "one", "comment": "c", "author": "a", "tomorrow": 1},
        {"created_by": "nothing", "empty_layer": True},
        {"created": "2002-01-01T00:00:00.123456789Z"},
    ]
    document = base_images.config(layers, FULL, history=history, created="2002-01-01T00:00:00Z", **TOP)
    base_images.put(registry, "base", layers, document)
    built = build("LABEL mine=1\n")
    added = {"created": "2020-09-13T12:26:40Z", "created_by": "LABEL mine=1", "empty_layer": True}
    assert {key: value for key, value in built.config["history"][-1].items() if key in added} == added
    expected = {
        **document,
        "created": "2020-09-13T12:26:40Z",
        "config": {**FULL, "Labels": {**FULL["Labels"], "mine": "1"}},
    }
    assert built.config | {"history": built.config["history"][:-1]} == expected


@pytest.mark.parametrize(
    ("top", "history"),
    [
        ({"config": ...}, 2),
        ({"config": None, "history": None, "created": None, "author": None}, 2),
        ({"history": ...}, 2),
        ({"history": []}, 2),
        ({"history": [{"created_by": "one"}]}, 2),
        ({"history": [{"created_by": str(n)} for n in range(5)]}, 5),
        ({"config": {"Env": None, "Cmd": None, "Labels": None, "Volumes": None, "ExposedPorts": {}}}, 2),
        ({"rootfs": {"diff_ids": [LAYER.diff_id, LAYER.diff_id]}}, 2),
    ],
)
def test_what_old_configs_leave_out_is_made_up_for(
    build: Build, registry: FakeRegistry, top: dict[str, Any], history: int
) -> None:
    layers = [LAYER, LAYER]
    base_images.put(registry, "base", layers, base_images.config(layers, **top))
    built = build("USER 5\n")
    assert built.faults == []
    assert built.config["rootfs"] == {"type": "layers", "diff_ids": [LAYER.diff_id] * 2}
    assert len(built.config["history"]) == history + 1
    assert built.config["config"]["User"] == "5"
    assert built.config["config"]["Env"] == [testbase.PATH]
