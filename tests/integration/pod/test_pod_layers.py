"""A Layers pod: one process, a real registry."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strata_builder import contract
from strata_builder.layers import unpack
from strata_builder.oci.image import Image, ImageConfig
from strata_builder.oci.manifest import parse_manifest
from strata_builder.registry.client import Registry
from strata_builder.registry.config import Credential
from support import pods, registry_process
from support.file_server import Answer, FileServer
from support.git_server import HttpServer, Repository
from support.registry_requests import counted

BINARY = registry_process.find_binary()
pytestmark = pytest.mark.skipif(BINARY is None, reason="no registry binary; `make cluster-up` builds one")


@pytest.fixture(scope="module")
def server() -> Iterator[registry_process.RegistryProcess]:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY) as process:
        yield process


@pytest.fixture(scope="module")
def registry(server: registry_process.RegistryProcess) -> str:
    return server.host


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    return f"team/{request.node.name.split('[')[0].replace('_', '-')[:80]}"


def wanted(registry: str, repository: str, **fields: object) -> contract.BuildRequest:
    made = pods.request(registry, **fields)
    return replace(made, output=replace(made.output, repository=repository))


def build(tmp_path: Path, made: contract.BuildRequest, files: dict[str, str], **options: object) -> pods.Container:
    with pods.Pod(tmp_path, made, files, **options) as pod:  # type: ignore[arg-type]
        container = pod.start("all")
        container.wait()
        return container


def pulled(registry: str, repository: str, digest: str) -> tuple[Image, dict[str, bytes]]:
    """The image as the registry has it, and the contents of its files."""
    client = Registry(registry, insecure=True)
    manifest = parse_manifest(client.manifest(repository, digest).data)
    config = ImageConfig.from_bytes(client.blob_bytes(repository, manifest.config, limit=1 << 20))
    image, files = Image.of(manifest, config), dict[str, bytes]()
    for layer in image.layers:
        with client.blob(repository, layer.descriptor.digest, layer.descriptor.size) as blob:
            for entry, content in unpack.read_layer(blob, layer.descriptor.media_type, diff_id=layer.diff_id):
                if entry.path:
                    files[entry.path.decode()] = content.read() or b""
    client.close()
    return image, files


HELLO = {"Dockerfile": 'FROM scratch\nLABEL a=b\nCOPY index.html /www/\nCMD ["/x"]\n', "index.html": "hello"}


def test_inline_files_become_an_image_and_the_second_time_nothing_moves(
    tmp_path: Path, registry: str, repository: str
) -> None:
    made = wanted(registry, repository, source=contract.Source(files_folder=True))
    first = build(tmp_path / "1", made, HELLO).result()
    assert len(first.platforms) == 1
    image, files = pulled(registry, repository, first.platforms[0].digest)
    assert files["www/index.html"] == b"hello"
    assert (image.config.labels, first.metrics.layers, first.metrics.cache_misses) == ({"a": "b"}, 1, 1)
    again = build(tmp_path / "2", made, HELLO).result()
    assert again.platforms == first.platforms
    assert (again.metrics.cache_hits, again.metrics.cache_misses) == (1, 0)
    assert [step.cached for step in again.steps] == [True]
    edited = build(tmp_path / "3", made, {**HELLO, "index.html": "other"}).result()
    assert edited.platforms != first.platforms


def test_anothers_cache_makes_a_first_build_warm(tmp_path: Path, registry: str, repository: str) -> None:
    made = wanted(registry, f"{repository}-main", source=contract.Source(files_folder=True))
    first = build(tmp_path / "1", made, HELLO).result()
    branch = wanted(
        registry,
        repository,
        source=contract.Source(files_folder=True),
        insecure_registries=(registry,),
        cache=contract.Cache(sources=(f"{registry}/{repository}-main",)),
    )
    second = build(tmp_path / "2", branch, HELLO).result()
    assert second.platforms == first.platforms
    assert (second.metrics.cache_hits, second.metrics.cache_misses) == (1, 0)
    pulled(registry, repository, second.platforms[0].digest)


def test_a_cache_that_is_off_or_to_be_passed_over_is_not_read(tmp_path: Path, registry: str, repository: str) -> None:
    source = contract.Source(files_folder=True)
    build(tmp_path / "1", wanted(registry, repository, source=source), HELLO).result()
    for number, cache in enumerate((contract.Cache(mode="None"), contract.Cache(no_cache=True)), start=2):
        result = build(tmp_path / str(number), wanted(registry, repository, source=source, cache=cache), HELLO).result()
        assert [step.cached for step in result.steps] == [False]


def test_a_layer_that_the_registry_has_lost_is_made_again(tmp_path: Path, repository: str) -> None:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY) as server:
        made = wanted(server.host, repository, source=contract.Source(files_folder=True))
        first = build(tmp_path / "1", made, HELLO).result()
        image, _ = pulled(server.host, repository, first.platforms[0].digest)
        pods.lose(server, image.layers[0].descriptor.digest)
        container = build(tmp_path / "2", made, HELLO)
        assert container.result().platforms == first.platforms
        assert "lost 1 cached layers" in container.log
        pulled(server.host, repository, first.platforms[0].digest)


def test_no_tag_but_the_caches_is_written(tmp_path: Path, registry: str, repository: str) -> None:
    made = wanted(registry, repository, source=contract.Source(files_folder=True))
    result = build(tmp_path, made, HELLO).result()
    client = Registry(registry, insecure=True)
    tags = list(client.tags(repository))
    assert [tag.startswith(contract.CACHE_TAG_PREFIX) for tag in tags] == [True]
    manifest = parse_manifest(client.manifest(repository, tags[0]).data)
    records = client.blob_bytes(repository, manifest.config, limit=1 << 20).decode()
    assert f'"uid-1/1/1/{result.platforms[0].platform}":"{result.platforms[0].digest}"' in records
    client.close()


def test_a_base_of_the_same_registry_is_mounted_not_moved(tmp_path: Path, registry: str, repository: str) -> None:
    tmp_path.joinpath("base").mkdir()
    base = pods.push_base(registry, "library/busybox", "1", tmp_path / "base")
    made = wanted(
        registry,
        repository,
        source=contract.Source(files=(("d/Dockerfile", "k1"), ("app/f", "k2"))),
        dockerfile_path="d/Dockerfile",
        insecure_registries=(registry,),
    )
    text = f"FROM {registry}/library/busybox:1\nCOPY --chown=app app /srv/\n"
    result = build(tmp_path / "pod", made, {"k1": text, "k2": "x", "unused": "y"}).result()
    image, files = pulled(registry, repository, result.platforms[0].digest)
    assert image.layers[0] == base.layers[0]
    assert files["srv/f"] == b"x"
    assert [base.name for base in result.base_images] == [f"{registry}/library/busybox:1"]
    assert result.metrics.pushed_bytes < base.layers[0].descriptor.size


def test_a_base_of_a_mirror(tmp_path: Path, registry: str, repository: str) -> None:
    tmp_path.joinpath("base").mkdir()
    pods.push_base(registry, "library/busybox", "1.36", tmp_path / "base")
    made = wanted(
        registry, repository, mirrors=(contract.Mirror("docker.io", f"http://{registry}"),), dockerfile_inline=True
    )
    result = build(tmp_path / "pod", made, {}, dockerfile="FROM busybox:1.36\nENV A=1\n").result()
    assert result.metrics.layers == 1


def test_a_git_source_gives_its_commit_and_time(tmp_path: Path, registry: str, repository: str) -> None:
    repo = Repository.make(tmp_path / "srv")
    commit = repo.commit(
        {"web/Dockerfile": "FROM scratch\nCOPY . /\n", "web/.dockerignore": "Dockerfile", "web/a": "x"}
    )
    with HttpServer(repo.bare.parent, user="ada", password="pw") as server:
        source = contract.Source(contract.GitSource(f"{server.url}/app.git", "main", commit, "web"))
        made = wanted(registry, repository, source=source)
        key = {"username": b"ada", "password": b"pw"}
        result = build(tmp_path / "pod", made, {}, source_credentials=key).result()
        assert result.source == contract.SourceResult("main", commit, "Change", "Ada Lovelace", 1709294400)
        image, files = pulled(registry, repository, result.platforms[0].digest)
        assert files.keys() == {"a", ".dockerignore"}
        assert image.config.created == "2024-03-01T12:00:00Z"
        refused = build(tmp_path / "2", made, {}, source_credentials={"username": b"ada", "password": b"no"})
        assert refused.failure().reason == "SourceAuthFailed"


def test_an_archive_source_and_add_of_a_url(tmp_path: Path, registry: str, repository: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, text in (
            ("p/Dockerfile", "ARG WHERE\nFROM scratch\nARG WHERE\nADD $WHERE/tool /bin/\nCOPY x /"),
            ("p/x", "1"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    with FileServer({"/src.tar.gz": Answer(archive.getvalue()), "/tool": Answer(b"binary")}) as server:
        source = contract.Source(archive=contract.ArchiveSource(f"{server.url}/src.tar.gz", path="p"))
        made = wanted(registry, repository, source=source, args=(("WHERE", server.url),))
        result = build(tmp_path / "pod", made, {}).result()
    _, files = pulled(registry, repository, result.platforms[0].digest)
    assert (files["bin/tool"], files["x"]) == (b"binary", b"1")


@pytest.mark.parametrize("platforms", [("linux/amd64",), ("linux/amd64", "linux/arm64")], ids=len)
def test_what_add_fetched_is_not_sent_again(
    tmp_path: Path, registry: str, repository: str, platforms: tuple[str, ...]
) -> None:
    answers: dict[str, Answer | list[Answer]] = {"/tool": Answer(b"binary" * 50_000, headers={"ETag": '"v1"'})}
    with FileServer(answers) as server:
        text = {"Dockerfile": f"FROM scratch\nADD {server.url}/tool /bin/\n"}
        source = contract.Source(files_folder=True)
        made = wanted(registry, f"{repository}-{len(platforms)}", source=source, platforms=platforms)
        first = build(tmp_path / "1", made, text).result()
        sent = server.sent
        again = build(tmp_path / "2", made, text).result()
        assert again.platforms == first.platforms
        assert server.sent == sent == 300_000
        anew = replace(made, cache=replace(made.cache, no_cache=True))
        build(tmp_path / "3", anew, text).result()
        assert server.sent == 600_000


def test_warnings_are_told_at_the_end_of_the_log_and_are_no_failure(
    tmp_path: Path, registry: str, repository: str
) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    made = wanted(registry, repository, source=contract.Source(files_folder=True), platforms=platforms)
    files = {**HELLO, "Dockerfile": "# check=skip=StageNameCasing\nFROM scratch AS Main\nENV a b\nCMD x\n"}
    container = build(tmp_path, made, files)
    assert len(container.result().platforms) == 2
    assert re.findall(r"\((\w+)\)\n", container.log) == ["LegacyKeyValueFormat", "JSONArgsRecommended"]
    assert container.log.index("pushed ") < container.log.index("warning: ")


def test_a_warning_that_is_to_be_an_error_says_rule_line_and_where_it_is_explained(
    tmp_path: Path, registry: str
) -> None:
    text = "# check=error=true\nFROM scratch\nENV a b\nCMD x\n"
    with pods.Pod(tmp_path, pods.request(registry, dockerfile_inline=True), {}, text) as pod:
        container = pod.start("all")
        assert container.wait() == contract.ExitCode.FAILED
        failure = container.failure()
    assert failure.message.splitlines()[1:] == ["  3 | ENV a b", "    | ^"]
    said = "(LegacyKeyValueFormat); check=error=true makes an error of it, and of JSONArgsRecommended in line 4"
    assert said in failure.message
    assert failure.hint.endswith("see https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/")


def test_several_platforms_are_made_in_one_pod(tmp_path: Path, registry: str, repository: str) -> None:
    made = wanted(
        registry, repository, source=contract.Source(files_folder=True), platforms=("linux/amd64", "linux/arm64")
    )
    result = build(tmp_path, made, HELLO).result()
    assert [one.platform for one in result.platforms] == ["linux/amd64", "linux/arm64"]
    assert len({one.digest for one in result.platforms}) == 2


NOWHERE = contract.Output("127.0.0.1:9", "a/b", insecure=True)
FAILURES = [
    ("FROM scratch\nRUN x\n", {}, 10, "PodRejected", 2),
    ("FROM scratch\nFORM x\n", {}, 1, "DockerfileInvalid", 2),
    ("FROM scratch\nCOPY nope /\n", {}, 1, "SourceNotFound", 2),
    ("FROM REGISTRY/none:1\n", {}, 1, "BaseImageNotFound", 1),
    (None, {}, 1, "SourceNotFound", 0),
    ("FROM scratch\n", {"context_limit_bytes": 5, "source": contract.Source(files_folder=True)}, 1, "InvalidSpec", 0),
    ("FROM scratch\n", {"target": "none"}, 1, "DockerfileInvalid", 0),
    ("# check=error=true\nFROM scratch\nENV a b\n", {}, 1, "DockerfileInvalid", 3),
    ("FROM scratch\nENV a b\n", {"args": (("BUILDKIT_DOCKERFILE_CHECK", "error=true"),)}, 1, "DockerfileInvalid", 2),
    ("# check=error=maybe\nFROM scratch\n", {}, 1, "DockerfileInvalid", 1),
    ("FROM scratch\n", {"output": NOWHERE, "timeout_seconds": 1}, 13, "DeadlineExceeded", 0),
]  # fmt: skip


@pytest.mark.parametrize(("dockerfile", "fields", "code", "reason", "line"), FAILURES)
def test_each_failure_has_its_code_reason_and_line(
    tmp_path: Path,
    registry: str,
    dockerfile: str | None,
    fields: dict[str, object],
    code: int,
    reason: str,
    line: int,
) -> None:
    made = pods.request(
        registry, **{"dockerfile_inline": dockerfile is not None, "insecure_registries": (registry,), **fields}
    )
    text = dockerfile and dockerfile.replace("REGISTRY", registry)
    with pods.Pod(tmp_path, made, {"f": "too large"}, text) as pod:
        container = pod.start("all")
        assert container.wait() == code
        failure = container.failure()
    assert (failure.reason, failure.line) == (reason, line), failure


def test_a_wrong_push_password(tmp_path: Path) -> None:
    assert BINARY is not None
    with registry_process.RegistryProcess(BINARY, users={"ada": "right"}) as server:
        made = pods.request(server.host, source=contract.Source(files_folder=True))
        good = build(tmp_path / "1", made, HELLO, push=pods.docker_config(server.host, "ada", "right"))
        assert good.result().platforms
        bad = build(
            tmp_path / "2", made, {**HELLO, "index.html": "2"}, push=pods.docker_config(server.host, "ada", "wrong")
        )
        assert (bad.failure().reason, "wrong" in bad.log.replace("wrong ones", "")) == ("PushDenied", False)
        client = Registry(server.host, insecure=True, credentials=Credential("ada", "right"))
        assert len(list(client.tags("team/web"))) == 1
        client.close()


def test_a_request_of_another_version_says_so(tmp_path: Path, registry: str) -> None:
    with pods.Pod(tmp_path, pods.request(registry)) as pod:
        (pod.home("all") / "request/request.json").write_text('{"v": 99}')
        container = pod.start("all")
        assert container.wait() == contract.ExitCode.FAILED
        assert container.failure().reason == "InvalidSpec"


def test_a_pod_that_has_nothing_to_do_asks_seven_things_at_most(
    tmp_path: Path, server: registry_process.RegistryProcess, repository: str
) -> None:
    """Two of them read the cache. Nothing is sent, and no layer read, in this pod or in one that changes the image."""
    tmp_path.joinpath("base").mkdir()
    base = pods.push_base(server.host, f"{repository}-base", "1", tmp_path / "base").layers[0].descriptor.digest
    made = wanted(server.host, repository, source=contract.Source(files_folder=True))
    made = replace(made, insecure_registries=(server.host,))
    files = {**HELLO, "Dockerfile": f"FROM {server.host}/{repository}-base:1\nCOPY index.html /www/\n"}
    first = build(tmp_path / "1", made, files).result()
    with counted(server) as asked:
        again = build(tmp_path / "2", made, files).result()
    assert again.platforms == first.platforms
    assert len(asked) <= 7, asked
    assert (asked.sent(), base in asked.read()) == ([], False)
    with counted(server) as asked:
        build(tmp_path / "3", made, {**files, "index.html": "other"}).result()
    assert base not in asked.read() + asked.sent()
