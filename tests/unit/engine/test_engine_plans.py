"""Plans and keys of Dockerfiles, without a base image, a root or a network."""

from __future__ import annotations

import dataclasses
from typing import NoReturn

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.context import memory
from strata_builder.engine import contexts, keys, planner, selecting, steps
from strata_builder.engine.options import Options
from strata_builder.oci.image import Image
from strata_builder.oci.platform import Platform

AMD64 = Platform.parse("linux/amd64")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FILES = {b"f": b"f", b"d/x": b"x", b"other": b"o"}


class NoImages:
    """Whatever asks for an image gets the error that a registry gives."""

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        raise errors.BaseImageNotFound(f"there is no {reference} for {platform}")


class NoRemotes:
    def tree(self, url: str, step: steps.Step) -> NoReturn:
        raise AssertionError(url)


def _options(files: dict[bytes, bytes] | None = None, **given: object) -> Options:
    made = Options(context=memory.MemoryTree(files or FILES), platform=AMD64, build_platform=AMD64)
    return dataclasses.replace(made, **given)  # type: ignore[arg-type]


def _plan(text: str, options: Options | None = None) -> steps.Plan:
    return planner.make(df.parse(text.encode(), "Dockerfile"), options or _options(), NoImages())


def _env(text: str, **given: object) -> dict[str, str]:
    plan = _plan(text, _options(**given))  # type: ignore[arg-type]
    return dict(item.partition("=")[::2] for item in plan.stages[plan.target].config.env)


def _key(text: str, options: Options | None = None) -> str:
    options = options or _options()
    plan = _plan(text, options)
    return keys.of_plan(plan, options, NoRemotes()).stages[plan.target]


@pytest.mark.parametrize(
    ("text", "args", "env"),
    [
        ("ARG G=1\nFROM scratch\nENV A=[$G]\n", {}, "[]"),
        ("ARG G=1\nFROM scratch\nARG G\nENV A=[$G]\n", {}, "[1]"),
        ("ARG G=1\nFROM scratch\nARG G=2\nENV A=[$G]\n", {}, "[2]"),
        ("ARG G=1\nFROM scratch\nARG G\nENV A=[$G]\n", {"G": "3"}, "[3]"),
        ("ARG G=1\nFROM scratch\nARG G\nENV A=[${G-unset}]\n", {"G": ""}, "[]"),
        ("FROM scratch\nARG G\nENV A=[${G-unset}]\n", {}, "[unset]"),
        ("FROM scratch\nENV G=e\nARG G=a\nENV A=[$G]\n", {}, "[a]"),
        ("FROM scratch\nARG G=a\nENV G=e\nENV A=[$G]\n", {}, "[e]"),
        ("FROM scratch AS a\nARG G=1\nFROM a\nENV A=[$G]\n", {}, "[1]"),
        ("FROM scratch AS a\nARG G=1\nFROM scratch\nENV A=[$G]\n", {}, "[]"),
        ("FROM scratch AS a\nENV G=e\nARG G=1\nFROM a\nENV A=[$G]\n", {}, "[e]"),
        ("FROM scratch AS a\nENV G=e\nFROM a\nARG G=1\nENV A=[$G]\n", {}, "[1]"),
        ("FROM scratch\nARG TARGETARCH\nENV A=[$TARGETARCH$TARGETOS]\n", {}, "[amd64]"),
    ],
)
def test_where_an_arg_is_seen_and_which_value_wins(text: str, args: dict[str, str], env: str) -> None:
    assert _env(text, build_args=args)["A"] == env


@pytest.mark.parametrize(
    ("text", "target", "said"),
    [
        ("FROM nosuch.example/x\n", "", "there is no nosuch.example/x"),
        ("FROM scratch AS a\n", "b", "target stage 'b' is not in Dockerfile"),
        ("FROM $NO\n", "", "empty"),
    ],
)
def test_a_base_or_target_that_is_not_there_is_named(text: str, target: str, said: str) -> None:
    with pytest.raises(errors.BuildError, match=said):
        _plan(text, _options(target=target))


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch AS node\nFROM node AS scratch\nUSER a\nFROM scratch\n",
        "FROM scratch AS scratch\nUSER a\nFROM scratch\n",
        "FROM scratch AS Scratch\nUSER a\nFROM scratch AS x\nFROM x\n",
    ],
)
def test_a_stage_may_be_called_scratch_and_is_then_what_scratch_means(text: str) -> None:
    plan = _plan(text)
    assert plan.stages[plan.target].config.user == "a"


class OneImage:
    """An image of any name, whose user is its name."""

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        image = Image.scratch(platform)
        return steps.Base(reference, "sha256:" + "1" * 64, image.with_config(image.config.with_(user=reference)))


@pytest.mark.parametrize(
    "text",
    [
        "FROM node AS node\n",
        "FROM node AS Node\nFROM node\n",
        "FROM node\nFROM scratch AS node\nUSER other\nFROM 0\nCOPY --from=0 / /\nUSER node\n",
        "FROM node AS base\nFROM base\nFROM scratch AS base\nFROM node\n",
    ],
)
def test_a_stage_of_its_images_name_and_a_later_one_leave_the_image_alone(text: str) -> None:
    plan = planner.make(df.parse(text.encode()), _options(), OneImage())
    assert plan.stages[plan.target].config.user == "node"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], [PATH]),
        (["A=1", "B="], ["A=1", "B=", PATH]),
        (["PATH=/x", "A=1"], ["PATH=/x", "A=1"]),
        (["PATH="], ["PATH="]),
    ],
)
def test_a_base_without_a_path_gets_one_beside_what_it_has(given: list[str], expected: list[str]) -> None:
    class Given:
        def resolve(self, reference: str, platform: Platform) -> steps.Base:
            image = Image.scratch(platform)
            return steps.Base(reference, "sha256:" + "1" * 64, image.with_config(image.config.with_(env=given)))

    plan = planner.make(df.parse(b"FROM x\nFROM 0\n"), _options(), Given())
    assert list(plan.stages[plan.target].config.env) == expected


def _named(*names: str) -> dict[str, contexts.NamedContext]:
    return {name: contexts.TreeContext(memory.MemoryTree({b"g": b"g"})) for name in names}


def test_a_base_that_is_a_folder_is_one_layer_and_then_an_empty_image() -> None:
    plan = _plan("FROM lib\nUSER a\n", _options(contexts=_named("lib")))
    stage = plan.stages[0]
    assert [step.created_by for step in stage.steps] == ["FROM lib", "USER a"]
    assert (stage.base, stage.config.workdir, stage.config.env) == (
        steps.FromScratch(),
        "/",
        (PATH,),
    )


@pytest.mark.parametrize(
    ("given", "asked", "found"),
    [
        ("lib", "lib", True),
        ("lib", "LIB", True),
        ("lib", "lib:latest", True),
        ("lib", "docker.io/library/lib", True),
        ("docker.io/library/lib:latest", "lib", True),
        ("lib:1", "lib:1", True),
        ("lib:1", "lib", False),
        ("lib", "lib:1", False),
        ("lib", "quay.io/lib", False),
        ("not a reference", "Not A Reference", True),
        ("scratch", "scratch", False),
        ("context", "context", False),
    ],
)
def test_a_context_is_found_however_its_image_is_written(given: str, asked: str, found: bool) -> None:
    assert (contexts.find(_named(contexts.key(given)), asked) is not None) is found


def test_a_context_may_be_the_empty_image() -> None:
    given = {"lib": contexts.ImageContext("scratch")}
    for text in ("FROM lib\nUSER a\n", "FROM nosuch AS lib\nRUN x\nFROM lib\nUSER a\n"):
        plan = _plan(text, _options(contexts=given))
        stage = plan.stages[plan.target]
        assert (len(stage.steps), stage.config.workdir, stage.config.user) == (1, "/", "a")


def test_a_context_stands_for_the_stage_of_its_name_also_as_the_target() -> None:
    text = "FROM nosuch AS lib\nONBUILD USER b\nRUN exit 1\nFROM lib AS end\n"
    for target, expected in (("end", ["FROM lib"]), ("lib", ["FROM lib"])):
        plan = _plan(text, _options(contexts=_named("lib"), target=target))
        assert [step.created_by for stage in plan.stages.values() for step in stage.steps] == expected


def test_stages_that_the_target_does_not_need_are_never_looked_at() -> None:
    plan = _plan("FROM nosuch.example/x AS broken\nFROM scratch AS a\nFROM a\n")
    assert list(plan.stages) == [1, 2]


def test_history_holds_arguments_of_a_run_but_no_proxy() -> None:
    args = {"V": "1", "HTTP_PROXY": "http://user:pw@proxy.example", "UNDECLARED": "x"}
    plan = _plan("FROM scratch\nARG V\nARG HTTP_PROXY\nRUN make\n", _options(build_args=args))
    step = plan.runs[0]
    assert step.created_by == "RUN |1 V=1 /bin/sh -c make"
    assert step.proxies["HTTP_PROXY"] == "http://user:pw@proxy.example"


BASE = "FROM scratch\nARG V=1\nCOPY f /f\nRUN make\n"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("# comment\n" + BASE, True),
        (BASE + "LABEL a=1\nCMD x\n", True),
        (BASE + "ARG AFTER=1\n", True),
        (BASE.replace("V=1", "V=2"), False),
        (BASE.replace("make", "make all"), False),
        (BASE.replace("RUN make", 'RUN ["make"]'), False),
        (BASE.replace("f /f", "f /g"), False),
        (BASE.replace("f /f", "--chmod=600 f /f"), False),
        (BASE.replace("f /f", "--chown=1:1 f /f"), False),
        (BASE.replace("f /f", "--link f /f"), False),
        (BASE.replace("RUN", "ENV A=1\nRUN"), False),
        (BASE.replace("RUN", "USER 1\nRUN"), False),
        (BASE.replace("RUN", "WORKDIR /w\nRUN"), False),
        (BASE.replace("RUN", 'SHELL ["/bin/bash"]\nRUN'), False),
        (BASE.replace("RUN", "RUN --network=none"), False),
        (BASE.replace("RUN", "RUN --mount=type=cache,target=/c"), False),
        (BASE.replace("RUN", "RUN --mount=type=bind,source=d,target=/c"), False),
    ],
)
def test_a_key_changes_with_what_a_step_could_tell(text: str, same: bool) -> None:
    assert (_key(text) == _key(BASE)) is same


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"secrets": {"s": b"value"}}, True),
        ({"build_args": {"UNDECLARED": "1"}}, True),
        ({"build_args": {"HTTP_PROXY": "http://proxy.example"}}, True),
        ({"labels": {"a": "1"}}, True),
        ({"created": 5}, True),
        ({"build_args": {"V": "2"}}, False),
        ({"compression": "zstd"}, False),
        ({"source_date_epoch": 0}, False),
        ({"network": "none"}, False),
        ({"files": FILES | {b"other": b"changed"}}, True),
        ({"files": FILES | {b"f": b"g"}}, False),
        ({"context": memory.MemoryTree(FILES, {b"f": 0o600})}, False),
        ({"context": memory.MemoryTree(FILES, mtime=99)}, True),
    ],
)
def test_a_key_changes_with_the_options_that_change_a_layer(changed: dict[str, object], same: bool) -> None:
    assert (_key(BASE, _options(**changed)) == _key(BASE)) is same  # type: ignore[arg-type]


def test_what_a_bind_mount_shows_is_in_the_key() -> None:
    text = "FROM scratch\nRUN --mount=type=bind,source=d,target=/c make\n"
    assert _key(text, _options(FILES | {b"d/x": b"y"})) != _key(text)
    assert _key(text, _options(FILES | {b"f": b"y"})) == _key(text)


def test_what_a_stage_is_called_is_in_no_key() -> None:
    text = "FROM scratch AS s\nCOPY f /f\nFROM scratch\nCOPY --from=s /f /g\nRUN --mount=from=s,target=/m make\n"
    assert _key(text) == _key(text.replace("AS s", "AS t").replace("from=s", "from=t"))


def test_arguments_that_read_the_same_when_joined_have_different_keys() -> None:
    text = "FROM scratch\nARG A\nARG B\nRUN make\n"
    given = [{"A": "x-B=z", "B": "y"}, {"A": "x", "B": "z-B=y"}, {"A": ""}, {}]
    assert len({_key(text, _options(build_args=args)) for args in given}) == len(given)


def test_a_missing_source_is_told_with_its_line() -> None:
    with pytest.raises(errors.SourceNotFound) as caught:
        _key("FROM scratch\n\nCOPY nope /\n")
    assert caught.value.place is not None
    assert caught.value.place.line == 3


@pytest.mark.parametrize("line", ["COPY --from=9 /f /f", "RUN --mount=from=9,target=/m true"])
def test_a_number_without_a_stage_is_pointed_at(line: str) -> None:
    with pytest.raises(errors.DockerfileError, match="there is no stage 9") as caught:
        _plan(f"FROM scratch\n\n{line}\n")
    place = caught.value.place
    assert place is not None
    assert (place.line, place.excerpt, line[place.column - 1 :][:1]) == (3, line, "9")


def test_a_bad_exclude_pattern_is_an_error() -> None:
    with pytest.raises(errors.DockerfileError, match="--exclude"):
        selecting.excludes(["[a"])


ARM64 = Platform.parse("linux/arm64")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("FROM scratch\nRUN x\n", 2),
        ("FROM scratch AS a\nRUN x\nFROM scratch\nCOPY --from=a f /\n", 2),
        ("FROM scratch AS unused\nRUN x\nFROM scratch\nCOPY f /\n", None),
        ("FROM scratch\nCOPY f /\n", None),
    ],
)
def test_a_run_for_another_machine_is_told_by_the_platform_of_its_stage(text: str, line: int | None) -> None:
    foreign = _plan(text, _options(platform=ARM64)).foreign_run(AMD64)
    assert (foreign.place.line if foreign else None) == line
    assert _plan(text).foreign_run(AMD64) is None


class AnyPlatform:
    """An empty image for whatever platform is asked for."""

    def resolve(self, reference: str, platform: Platform) -> steps.Base:
        return steps.Base(reference, "sha256:" + "0" * 64, Image.scratch(platform))


def test_a_stage_for_the_build_platform_runs_there_whatever_the_image_is_for() -> None:
    text = "FROM --platform=$BUILDPLATFORM tools AS a\nRUN x\nFROM tools\nCOPY --from=a f /\n"
    made = planner.make(df.parse(text.encode(), "Dockerfile"), _options(platform=ARM64), AnyPlatform())
    assert made.foreign_run(AMD64) is None
    assert made.stages[made.target].config.platform == ARM64


CACHED = BASE.replace("RUN", "RUN --mount=type=cache,target=/c")


@pytest.mark.parametrize(
    ("text", "name", "value", "same"),
    [
        (BASE, "BUILDKIT_SANDBOX_HOSTNAME", "", True),
        (BASE, "BUILDKIT_SANDBOX_HOSTNAME", "foo", False),
        (BASE, "BUILDKIT_SANDBOX_HOSTNAME", "A.b-c_d", False),
        (BASE, "BUILDKIT_SANDBOX_HOSTNAME", "x" * 64, False),
        (CACHED, "BUILDKIT_CACHE_MOUNT_NS", "", True),
        (CACHED, "BUILDKIT_CACHE_MOUNT_NS", "other", False),
        (BASE, "BUILDKIT_CACHE_MOUNT_NS", "other", True),
        (BASE, "BUILDKIT_INLINE_CACHE", "1", True),
    ],
)
def test_arguments_with_a_meaning_of_their_own_are_in_the_keys_of_what_they_change(
    text: str, name: str, value: str, same: bool
) -> None:
    assert (_key(text, _options(build_args={name: value})) == _key(text)) is same


@pytest.mark.parametrize("name", ["a b", "a\nb", "x" * 65, "-a", "a.", "\u00e9", "a/b"])
def test_what_is_no_name_of_a_machine_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidSpec, match=r"BUILDKIT_SANDBOX_HOSTNAME=.* is no host name"):
        _key(BASE, _options(build_args={"BUILDKIT_SANDBOX_HOSTNAME": name}))
