"""A pod of three containers: three processes, a real registry, steps that really run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strata_builder import contract
from strata_builder.layers import unpack
from strata_builder.oci.image import Image, ImageConfig
from strata_builder.oci.manifest import parse_manifest
from strata_builder.oci.platform import host
from strata_builder.pod import planfile
from strata_builder.registry.client import Registry
from support import layertrees, pods, registry_process
from support.file_server import Answer, FileServer
from support.registry_requests import counted

BINARY = registry_process.find_binary()
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root"),
    pytest.mark.skipif(BINARY is None, reason="no registry binary; `make cluster-up` builds one"),
]
CHROOT = "support.chroot_roots"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY) as process:
        pods.push_base(process.host, "library/busybox", "1", tmp_path_factory.mktemp("base"))
        yield process.host


def request(registry: str, name: str, **fields: object) -> contract.BuildRequest:
    given = {"insecure_registries": (registry,), "isolation": "InPlace", **fields}
    made = pods.request(registry, dockerfile_inline=True, **given)
    return replace(made, output=replace(made.output, repository=f"team/{name}"))


def dockerfile(registry: str, text: str) -> str:
    return text.replace("BASE", f"{registry}/library/busybox:1")


def run(pod: pods.Pod, build: str = CHROOT) -> tuple[int, int, int]:
    """The exit codes of fetch, build and push."""
    containers = [pod.start("push"), pod.start("build", build), pod.start("fetch")]
    codes = [container.wait() for container in containers]
    return codes[2], codes[1], codes[0]


def container(pod: pods.Pod, role: str) -> pods.Container:
    return next(one for one in pod.started if one.home.name == role)


def pulled(registry: str, name: str, digest: str) -> tuple[Image, dict[str, bytes]]:
    client = Registry(registry, insecure=True)
    manifest = parse_manifest(client.manifest(f"team/{name}", digest).data)
    config = ImageConfig.from_bytes(client.blob_bytes(f"team/{name}", manifest.config, limit=1 << 20))
    image, files = Image.of(manifest, config), dict[str, bytes]()
    for layer in image.layers[1:]:
        with client.blob(f"team/{name}", layer.descriptor.digest, layer.descriptor.size) as blob:
            for entry, content in unpack.read_layer(blob, layer.descriptor.media_type, diff_id=layer.diff_id):
                files[entry.path.decode()] = content.read() or b""
    client.close()
    return image, files


APP = """\
FROM BASE AS build
COPY src /src
RUN echo compiled > /app && cat /src/f >> /app
FROM BASE
ENV A=1
COPY --from=build /app /srv/app
CMD ["/srv/app"]
"""


def test_the_three_make_an_image_and_the_second_time_nothing_runs(tmp_path: Path, registry: str) -> None:
    made = request(registry, "app", source=contract.Source(files=(("src/f", "f"),)), source_date_epoch=1_700_000_000)
    with pods.Pod(tmp_path / "1", made, {"f": "text"}, dockerfile(registry, APP)) as pod:
        assert run(pod) == (0, 0, 0), container(pod, "push").log
        first = container(pod, "push").result()
        assert container(pod, "fetch").said is None
        assert "compiled" not in container(pod, "push").log
    image, files = pulled(registry, "app", first.platforms[0].digest)
    assert files["srv/app"] == b"compiled\ntext"
    assert image.config.cmd == ("/srv/app",)
    assert [(step.line, step.cached) for step in first.steps] == [(2, False), (3, False), (6, False)]
    assert first.metrics.build_seconds > 0
    made = replace(made, build=replace(pods.ID, number=2))
    with pods.Pod(tmp_path / "2", made, {"f": "text"}, dockerfile(registry, APP)) as pod:
        assert run(pod) == (0, 0, 0)
        again = container(pod, "push").result()
        assert again.platforms == first.platforms
        assert all(step.cached for step in again.steps)
        assert not (pod.folder / "shared/outputs/result.json").exists()


def test_the_rung_of_namespaces_gives_the_same_image(tmp_path: Path, registry: str) -> None:
    digests = set()
    for number, build in enumerate((CHROOT, "strata_builder.pod"), start=1):
        made = request(
            registry,
            f"rung{number}",
            isolation="UserNS",
            source=contract.Source(files=(("src/f", "f"),)),
            source_date_epoch=1_700_000_000,
        )
        with pods.Pod(tmp_path / str(number), made, {"f": "text"}, dockerfile(registry, APP)) as pod:
            assert run(pod, build) == (0, 0, 0), container(pod, "build").log
            digests.add(container(pod, "push").result().platforms[0].digest)
    assert len(digests) == 1


def test_a_layer_made_beside_other_code_is_found_by_the_same_plan_only(tmp_path: Path, registry: str) -> None:
    text = "FROM BASE AS a\nRUN echo ONE > /a\nFROM BASE AS b\nRUN echo TWO > /b\nFROM BASE\n"
    text += "COPY --from=a /a /\nCOPY --from=b /b /\n"
    edits = [("one", "two", 0), ("one", "two", 2), ("one", "three", 1), ("four", "three", 0)]
    for number, (one, two, hits) in enumerate(edits, start=1):
        made = request(registry, "beside", build=replace(pods.ID, number=number))
        edited = dockerfile(registry, text.replace("ONE", one).replace("TWO", two))
        with pods.Pod(tmp_path / str(number), made, {}, edited) as pod:
            assert run(pod) == (0, 0, 0), container(pod, "push").log
            result = container(pod, "push").result()
            assert result.metrics.cache_hits == hits, result.steps


STAGED = "FROM BASE AS a\nRUN echo one > /one\nRUN echo TWO > /two\nFROM BASE\nCOPY --from=a /two /\n"


def test_a_step_of_a_stage_that_is_not_in_the_image_is_found_again(tmp_path: Path, registry: str) -> None:
    for number, hits in enumerate((0, 1), start=1):
        made = request(registry, "staged", build=replace(pods.ID, number=number))
        text = dockerfile(registry, STAGED.replace("TWO", str(number)))
        with pods.Pod(tmp_path / str(number), made, {}, text) as pod:
            assert run(pod) == (0, 0, 0), container(pod, "push").log
            result = container(pod, "push").result()
            assert result.metrics.cache_hits == hits, result.steps


def test_a_step_that_two_stages_have_is_made_once(tmp_path: Path, registry: str) -> None:
    """A RUN makes another layer each time, and push takes one for each step."""
    text = "FROM BASE AS a\nRUN echo $$ > /id\nRUN echo a > /a\n"
    text += "FROM BASE\nRUN echo $$ > /id\nCOPY --from=a /id /a /from/\n"
    with pods.Pod(tmp_path, request(registry, "twice"), {}, dockerfile(registry, text)) as pod:
        assert run(pod) == (0, 0, 0), container(pod, "push").log
        result = container(pod, "push").result()
    assert [(step.line, step.cached) for step in result.steps] == [(2, False), (3, False), (5, True), (6, False)]
    _, files = pulled(registry, "twice", result.platforms[0].digest)
    assert files["id"] == files["from/id"] != b""


def test_with_the_cache_off_only_the_image_goes_to_the_registry(tmp_path: Path) -> None:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY) as server:
        base = pods.push_base(server.host, "library/busybox", "1", tmp_path)
        made = request(server.host, "off", cache=contract.Cache(mode="None"))
        with (
            counted(server) as asked,
            pods.Pod(tmp_path / "pod", made, {}, dockerfile(server.host, STAGED)) as pod,
        ):
            assert run(pod) == (0, 0, 0), container(pod, "push").log
            digest = container(pod, "push").result().platforms[0].digest
        with contextlib.closing(Registry(server.host, insecure=True)) as client:
            image = parse_manifest(client.manifest("team/off", digest).data)
            cache = parse_manifest(client.manifest("team/off", f"cache-{str(host()).replace('/', '-')}").data)
    own = {layer.digest for layer in image.layers} - {layer.descriptor.digest for layer in base.layers}
    assert set(asked.sent()) == own | {image.config.digest, cache.config.digest}
    assert cache.layers == ()


def test_a_base_of_another_registry_moves_once_and_by_way_of_fetch(tmp_path: Path, registry: str) -> None:
    assert BINARY is not None
    text = "FROM BASE\nADD URL/tool /bin/\nRUN tool\n"
    with (
        registry_process.RegistryProcess(BINARY) as target,
        FileServer({"/tool": Answer(b"#!/bin/sh\necho x > /made\n")}) as files,
    ):
        made = request(target.host, "moved", source_date_epoch=5, insecure_registries=(registry,))
        text = dockerfile(registry, text.replace("RUN tool", "RUN sh /bin/tool")).replace("URL", files.url)
        with pods.Pod(tmp_path / "1", made, {}, text) as pod:
            assert run(pod) == (0, 0, 0), container(pod, "push").log
            first = container(pod, "push").result()
        base = pods.eventually(tmp_path / "1/shared/inputs/blobs") / first_layer(target.host, first)
        assert first.metrics.pulled_bytes >= base.stat().st_size
        assert first.metrics.pushed_bytes >= base.stat().st_size
        (tmp_path / "2").mkdir()
        again = replace(made, build=replace(pods.ID, number=2))
        with pods.Pod(tmp_path / "2/pod", again, {}, text) as pod:
            assert run(pod) == (0, 0, 0), container(pod, "push").log
            second = container(pod, "push").result()
        assert second.platforms == first.platforms
        assert second.metrics.pulled_bytes < 100_000
        assert second.metrics.pushed_bytes < 100_000


def test_what_add_fetched_is_sent_again_only_to_a_step_that_needs_it(tmp_path: Path, registry: str) -> None:
    tool = b"binary" * 50_000
    with FileServer({"/tool": Answer(tool, headers={"ETag": '"v1"'})}) as files:
        sent, digests = [], []
        for number, word in enumerate(["a", "a", "b"]):
            text = dockerfile(registry, f"FROM BASE\nRUN echo {word} > /word\nADD {files.url}/tool /o/\n")
            with pods.Pod(tmp_path / str(number), request(registry, "added", source_date_epoch=5), {}, text) as pod:
                assert run(pod) == (0, 0, 0), container(pod, "push").log
                digests.append(container(pod, "push").result().platforms[0].digest)
            sent.append(files.sent)
    assert sent == [300_000, 300_000, 600_000]
    assert digests[0] == digests[1]
    assert pulled(registry, "added", digests[2])[1]["o/tool"] == tool


def first_layer(registry: str, result: contract.BuildResult) -> str:
    client = Registry(registry, insecure=True)
    manifest = parse_manifest(client.manifest("team/moved", result.platforms[0].digest).data)
    client.close()
    return manifest.layers[0].digest.removeprefix("sha256:")


def test_a_run_that_fails_says_so_and_the_others_leave_it_the_word(tmp_path: Path, registry: str) -> None:
    text = "FROM BASE\nRUN echo before && echo why >&2 && exit 7\n"
    with pods.Pod(tmp_path, request(registry, "fails"), {}, dockerfile(registry, text)) as pod:
        assert run(pod) == (12, 11, 12)
        failure = container(pod, "build").failure()
        assert (failure.reason, failure.line) == ("RunFailed", 2)
        assert re.search(r"exit code 7\nbefore\nwhy\n  2 \| RUN echo", failure.message)
        assert container(pod, "fetch").said is None
        assert container(pod, "push").said is None


def test_a_base_that_is_not_there_is_fetchs_to_say(tmp_path: Path, registry: str) -> None:
    with pods.Pod(tmp_path, request(registry, "nobase"), {}, f"FROM {registry}/none:1\nRUN x\n") as pod:
        assert run(pod) == (1, 12, 12)
        assert container(pod, "fetch").failure().reason == "BaseImageNotFound"


def test_a_warning_that_is_to_be_an_error_is_fetchs_to_say_before_anything_runs(tmp_path: Path, registry: str) -> None:
    text = dockerfile(registry, "# check=error=true\nFROM BASE\nRUN echo ran\nCMD echo hello\n")
    with pods.Pod(tmp_path / "1", request(registry, "lint"), {}, text) as pod:
        assert run(pod) == (1, 12, 12)
        failure = container(pod, "fetch").failure()
        assert (failure.reason, failure.line) == ("DockerfileInvalid", 4)
        assert "JSONArgsRecommended" in failure.message
        assert "ran" not in container(pod, "build").log
    with pods.Pod(tmp_path / "2", request(registry, "lint"), {}, text.replace("error=true", "error=false")) as pod:
        assert run(pod) == (0, 0, 0)
        assert re.search(
            r"Dockerfile:4: warning: JSON arguments .* \(JSONArgsRecommended\)\n", container(pod, "fetch").log
        )


SLOW = "FROM BASE\nRUN echo running && sleep 60\n"


def running(pod: pods.Pod) -> None:
    for role in ("fetch", "build", "push"):
        pods.eventually(pod.folder / "shared/alive" / role / "started")
    deadline = time.monotonic() + 20
    while " running" not in container(pod, "build").log:
        assert time.monotonic() < deadline, container(pod, "build").log
        time.sleep(0.05)


@pytest.mark.parametrize("lost", ["fetch", "build", "push"])
def test_when_one_is_killed_the_others_end(tmp_path: Path, registry: str, lost: str) -> None:
    with pods.Pod(tmp_path, request(registry, "killed"), {}, dockerfile(registry, SLOW)) as pod:
        for role, module in (("fetch", "strata_builder.pod"), ("build", CHROOT), ("push", "strata_builder.pod")):
            pod.start(role, module)
        running(pod)
        os.kill(container(pod, lost).process.pid, signal.SIGKILL)
        codes = {one.home.name: one.wait(20) for one in pod.started}
        assert codes.pop(lost) == -signal.SIGKILL
        assert set(codes.values()) == {contract.ExitCode.PEER_LOST}, codes


def test_the_timeout_ends_a_step_and_names_it(tmp_path: Path, registry: str) -> None:
    made = request(registry, "slow", timeout_seconds=6)  # enough to get to the step on a busy machine
    with pods.Pod(tmp_path, made, {}, dockerfile(registry, SLOW)) as pod:
        _, build, _ = run(pod)
        assert build == contract.ExitCode.DEADLINE
        failure = container(pod, "build").failure()
        assert (failure.reason, failure.line) == ("DeadlineExceeded", 2)


def test_sigterm_ends_all_of_them(tmp_path: Path, registry: str) -> None:
    with pods.Pod(tmp_path, request(registry, "term"), {}, dockerfile(registry, SLOW)) as pod:
        for role, module in (("fetch", "strata_builder.pod"), ("build", CHROOT), ("push", "strata_builder.pod")):
            pod.start(role, module)
        running(pod)
        for one in pod.started:
            os.kill(one.process.pid, signal.SIGTERM)
        codes = {one.wait(10) for one in pod.started}
        assert codes <= {contract.ExitCode.INTERRUPTED, contract.ExitCode.PEER_LOST}
        assert contract.ExitCode.INTERRUPTED in codes


def test_a_secret_is_in_its_step_and_nowhere_else(tmp_path: Path, registry: str) -> None:
    text = "FROM BASE\nRUN --mount=type=secret,id=token,target=/s/token cat /s/token > /copy; echo seen; cat /s/token\n"
    made = request(registry, "secret", secrets=("token",))
    with pods.Pod(tmp_path, made, {}, dockerfile(registry, text), secrets={"token": "s3cret-value"}) as pod:
        assert run(pod) == (0, 0, 0), container(pod, "build").log
        result = container(pod, "push").result()
        assert os.listdir(pod.folder / "shared/secrets") == []
        for role in ("fetch", "build", "push"):
            assert "s3cret-value" not in container(pod, role).log
        assert "s3cret-value" not in (pod.folder / "shared/inputs/plan.json").read_text()
        shared = pod.folder / "shared"
        held = [path for path in shared.rglob("*") if path.is_file() and b"s3cret-value" in path.read_bytes()]
        assert held == []
    _, files = pulled(registry, "secret", result.platforms[0].digest)
    assert files["copy"] == b"s3cret-value"  # the step itself chose to keep it


def test_a_wrong_push_password_is_found_before_the_build_is_over(tmp_path: Path) -> None:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY, users={"ada": "right"}) as server:
        tmp_path.joinpath("base").mkdir()
        from strata_builder.registry.config import Credential

        pods.push_base(server.host, "library/busybox", "1", tmp_path / "base", Credential("ada", "right"))
        good, bad = (pods.docker_config(server.host, "ada", word) for word in ("right", "wrong"))
        made = request(server.host, "denied")
        with pods.Pod(tmp_path / "pod", made, {}, dockerfile(server.host, SLOW), pull=good, push=bad) as pod:
            began = time.monotonic()
            assert run(pod) == (12, 12, 1)
            assert container(pod, "push").failure().reason == "PushDenied"
            assert time.monotonic() - began < 30


def test_a_cached_layer_that_is_lost_costs_one_attempt(tmp_path: Path) -> None:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY) as server:
        (tmp_path / "base").mkdir()
        pods.push_base(server.host, "library/busybox", "1", tmp_path / "base")
        codes = []
        for number, attempt, second in ((1, 1, "two"), (2, 1, "three"), (2, 2, "three")):
            made = request(server.host, "lost", build=replace(pods.ID, number=number, attempt=attempt))
            text = dockerfile(server.host, f"FROM BASE\nRUN echo one > /1\nRUN echo {second} > /2\n")
            with pods.Pod(tmp_path / f"{number}-{attempt}", made, {}, text) as pod:
                codes.append(run(pod))
                if codes == [(0, 0, 0)]:
                    digest = container(pod, "push").result().platforms[0].digest
                    pods.lose(server, pulled(server.host, "lost", digest)[0].layers[1].descriptor.digest)
        assert codes == [(0, 0, 0), (20, 12, 12), (0, 0, 0)]
        assert not any(step.cached for step in container(pod, "push").result().steps)


# a hostile build


def hostile(pod: pods.Pod, registry: str) -> tuple[planfile.PlanFile, Path]:
    """A pod whose build is played by the test; the plan, and the outputs that it may write."""
    from strata_builder.pod import alive

    pod.start("fetch")
    pod.start("push")
    alive.Holder(pod.folder / "shared/alive/build")
    plan = pods.eventually(pod.folder / "shared/inputs/plan.json")
    outputs = pod.folder / "shared/outputs"
    (outputs / "blobs").mkdir()
    (outputs / "need").mkdir()
    return planfile.PlanFile.from_bytes(plan.read_bytes()), outputs


def layer_of(tmp_path: Path) -> tuple[planfile.Layer, bytes]:
    packed = layertrees.packed(tmp_path / "layer", [layertrees.file("evil", b"x")])
    layer = planfile.Layer(packed.media_type, packed.digest, packed.size, packed.diff_id)
    return layer, packed.blob.read_bytes()


RUN = "FROM BASE\nRUN anything\n"


def finish(outputs: Path, plan: planfile.PlanFile, layer: planfile.Layer | None) -> None:
    key = plan.keyed().steps[plan.missing[0]]
    result = planfile.Result((planfile.Made(key, layer),), (), 1.0, 1)
    (outputs / "result.json").write_bytes(result.to_bytes())
    (outputs / "done").touch()


def tags(registry: str, name: str) -> list[str]:
    client = Registry(registry, insecure=True)
    from strata_builder.registry import errors

    try:
        return list(client.tags(f"team/{name}"))
    except errors.NotFound:
        return []
    finally:
        client.close()


def test_a_right_layer_of_any_build_is_taken(tmp_path: Path, registry: str) -> None:
    with pods.Pod(tmp_path / "pod", request(registry, "played"), {}, dockerfile(registry, RUN)) as pod:
        plan, outputs = hostile(pod, registry)
        layer, data = layer_of(tmp_path)
        (outputs / "blobs" / layer.digest[7:]).write_bytes(data)
        finish(outputs, plan, layer)
        assert [container(pod, role).wait() for role in ("push", "fetch")] == [0, 0], container(pod, "push").log
        assert container(pod, "push").result().metrics.layers == 2


@pytest.mark.parametrize(
    "lie",
    [
        "other content",
        "other diffID",
        "other compression",
        "no blob",
        "a link",
        "a fifo",
        "no step",
        "not a tar",
        "a hole",
    ],
)
def test_a_wrong_layer_is_never_pushed_as_an_image(tmp_path: Path, registry: str, lie: str) -> None:
    name = "lie-" + lie.lower().replace(" ", "-")
    with pods.Pod(tmp_path / "pod", request(registry, name), {}, dockerfile(registry, RUN)) as pod:
        plan, outputs = hostile(pod, registry)
        layer, data = layer_of(tmp_path)
        blob = outputs / "blobs" / layer.digest[7:]
        if lie == "other content":
            blob.write_bytes(data + b"\0")
        elif lie == "a link":
            blob.symlink_to("/etc/passwd")
        elif lie == "a fifo":
            os.mkfifo(blob)
        elif lie == "a hole":
            with blob.open("wb") as file:
                file.truncate(1 << 50)  # would fill every registry
        elif lie == "not a tar":
            import hashlib

            text = b"\x1f\x8b\x08 not really"
            digest = hashlib.sha256(text).hexdigest()
            layer = replace(layer, digest=f"sha256:{digest}", size=len(text))
            (outputs / "blobs" / digest).write_bytes(text)
        elif lie != "no blob":
            blob.write_bytes(data)
        if lie == "other diffID":
            layer = replace(layer, diff_id="sha256:" + "1" * 64)
        elif lie == "other compression":
            layer = replace(layer, media_type=layer.media_type.replace("gzip", "zstd"))
        finish(outputs, plan, layer)
        if lie == "no step":
            (outputs / "result.json").write_bytes(planfile.Result((), (), 1.0, 1).to_bytes())
        assert container(pod, "push").wait() in (1, 20), container(pod, "push").log
        failure = container(pod, "push").failure()
        assert failure.reason in ("InfrastructureFailed", "InvalidSpec"), failure
        assert container(pod, "fetch").wait() == contract.ExitCode.PEER_LOST
    assert tags(registry, name) == []


def test_what_was_taken_down_cannot_be_changed_later(tmp_path: Path, registry: str) -> None:
    with pods.Pod(tmp_path / "pod", request(registry, "changed"), {}, dockerfile(registry, RUN)) as pod:
        plan, outputs = hostile(pod, registry)
        layer, data = layer_of(tmp_path)
        (outputs / "blobs" / layer.digest[7:]).write_bytes(data)
        key = plan.keyed().steps[plan.missing[0]]
        (outputs / "steps").mkdir()
        (outputs / "steps" / key).write_bytes(planfile.Made(key, layer).to_bytes())
        pods.eventually(pod.folder / "shared/alive/push/acks" / key)
        (outputs / "steps" / key).write_bytes(planfile.Made(key, None).to_bytes())
        finish(outputs, plan, None)
        assert container(pod, "push").wait() == contract.ExitCode.RETRYABLE
        assert "says something else of a step" in container(pod, "push").failure().message
    assert tags(registry, "changed") == []


def test_fetch_brings_nothing_that_its_plan_does_not_name(tmp_path: Path, registry: str) -> None:
    with pods.Pod(tmp_path / "pod", request(registry, "asks"), {}, dockerfile(registry, RUN)) as pod:
        plan, outputs = hostile(pod, registry)
        base = plan.bases[0].resolved().image.layers[0].descriptor.digest[7:]
        for name in ("c" * 64, base, "../../secrets", "x" * 200):
            (outputs / "need" / name.replace("/", "_")).touch()
        shared = pod.folder / "shared/inputs/blobs"
        pods.eventually(shared / base)
        assert pods.eventually(shared / ("c" * 64 + ".refused")).read_bytes() == b"the plan does not name it"
        assert sorted(path.name for path in shared.iterdir()) == sorted([base, "c" * 64 + ".refused"])
