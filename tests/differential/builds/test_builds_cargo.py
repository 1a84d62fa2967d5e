"""cargo beside a cache mount: it compares times of sources with those of what it has compiled, as make and ninja do.

In the long form alone: the toolchain is half a gigabyte.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import testbase, toolchains
from support.strata_build import Builder

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif("STRATA_EFFORT" not in os.environ, reason="takes a Rust toolchain: `make test-differential`"),
]

MANIFEST = """\
[package]
name = "app"
version = "1.0.0"
edition = "2021"
[dependencies]
part = { path = "part" }
"""
PART = MANIFEST.partition("[dependencies]")[0].replace("app", "part")
SOURCE = 'pub const WORD: &str = part::WORD;\n#[no_mangle]\npub static TOLD: &str = "{text}";\n'
OLD = 1_000_000_000
"""As after a checkout by a tool that restores times."""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    base = testbase.write(tmp_path_factory.mktemp("testbase") / "layout")
    return Builder(tmp_path_factory.mktemp("builds"), base)


@pytest.fixture(scope="module")
def rust(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the context `rust` has to be mounted; `libraries` is another."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("rust", "libraries")}
    builder.named = {name: str(folder) for name, folder in folders.items()}
    return toolchains.collect_cargo(folders["rust"], folders["libraries"])


def test_a_changed_and_then_a_reverted_source_are_compiled_anew_beside_a_cache_mount(
    builder: Builder, rust: Path
) -> None:
    """`run` makes the step run though its inputs are those of an earlier build: what the mount has is newer work."""
    caches = "--mount=type=cache,target=/target --mount=type=cache,target=/cargo"
    dockerfile = (
        "FROM testbase\nCOPY --from=libraries . /\nCOPY src /src\nARG run\n"
        f"ENV CARGO_HOME=/cargo CARGO_TARGET_DIR=/target PATH={rust}/bin:/bin\n"
        f"RUN --mount=type=bind,from=rust,target={rust} {caches} cd /src"
        " && cargo build --offline --verbose 2> /said && cp /target/debug/libapp.rlib /app\n"
    )
    files = {"src/Cargo.toml": MANIFEST, "src/src/lib.rs": "", "src/part/Cargo.toml": PART}
    context = builder.context({**files, "src/part/src/lib.rs": 'pub const WORD: &str = "part";\n'}, dockerfile)
    seen = []
    for run, text in enumerate(["first-words", "other-words", "first-words"]):
        source = context / "src/src/lib.rs"
        source.write_text(SOURCE.replace("{text}", text))
        os.utime(source, (OLD, OLD))
        image = builder.build(context, "--build-arg", f"run={run}")
        found = [word for word in ("first-words", "other-words") if word.encode() in image.files()["app"].content]
        seen.append((found, " Compiling app " in image.read("said")))
    assert seen == [(["first-words"], True), (["other-words"], True), (["first-words"], True)]
