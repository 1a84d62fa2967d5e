"""Builds in this process with the real engine, without a root and without a base image: what a step placed, and whether
it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from strata_builder import contract, errors
from strata_builder import dockerfile as df
from strata_builder.context.tree import Tree
from strata_builder.engine import blobs, execute, filescope, keys, planner, records, report, steps
from strata_builder.engine.options import Options
from strata_builder.engine.roots import Roots
from strata_builder.entries import Entry, Kind
from strata_builder.oci.image import Image
from strata_builder.oci.platform import Platform

AMD64 = Platform.parse("linux/amd64")


class NoImages:
    def resolve(self, reference: str, platform: Platform) -> NoReturn:
        raise errors.BaseImageNotFound(f"there is no {reference} for {platform}")


class NoRemotes:
    def tree(self, url: str, step: steps.Step) -> NoReturn:
        raise AssertionError(f"{url} is not to be fetched for {step.created_by}")


@dataclass(frozen=True)
class Built:
    image: Image
    steps: tuple[contract.Step, ...]
    layers: tuple[tuple[Entry, ...], ...]

    def texts(self, number: int = -1) -> list[str]:
        """The entries of one layer, the root aside, as `ls` would put them."""
        return [text(entry) for entry in self.layers[number] if entry.path]

    @property
    def found(self) -> str:
        """A letter a step that touches files, in their order: H it was found, M it was made."""
        return "".join("H" if step.cached else "M" for step in self.steps)


@dataclass
class Engine:
    """One cache below `folder`: what a build made the next one finds. `roots` are where steps run, if they can."""

    folder: Path
    known: records.Records = field(default_factory=records.Records)
    roots: Roots | None = None

    def build(
        self, dockerfile: str, context: Tree, *, images: filescope.Images | None = None, **given: object
    ) -> Built:
        built, store = self.run(dockerfile, context, images=images, **given)
        return Built(built.image, built.steps, tuple(tuple(store.index(layer)) for layer in built.image.layers))

    def run(
        self, dockerfile: str, context: Tree, *, images: filescope.Images | None = None, **given: object
    ) -> tuple[execute.Built, blobs.Blobs]:
        """The same, its layers not looked into."""
        made = Options(context=context, platform=AMD64, build_platform=AMD64, runs=False)
        options = replace(made, **given)  # type: ignore[arg-type]
        plan = planner.make(df.parse(dockerfile.encode(), "Dockerfile"), options, images or NoImages())
        keyed = keys.of_plan(plan, options, NoRemotes())
        scratch = self.folder / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        store = blobs.Blobs(self.folder / "blobs", blobs.Nowhere())
        edges = execute.Edges(store, NoRemotes(), self.known, report.Quiet(), scratch, self.roots)
        built = execute.execute(plan, keyed, options, edges)
        self.known = self.known.merged(records.Records(built.used))
        return built, store


def text(entry: Entry) -> str:
    path = entry.path.decode()
    if entry.kind in (Kind.SYMLINK, Kind.HARDLINK):
        return f"{'l' if entry.kind == Kind.SYMLINK else 'h'} {path} -> {entry.link.decode()}"
    return f"{'d' if entry.kind == Kind.DIR else 'f'} {entry.mode:04o} {entry.uid}:{entry.gid} {path}"


def written(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """`files` below `root`: "name/" is a folder, "name -> target" a symbolic, "name => target" a hard link."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        link, arrow, target = name.partition(" -> ")
        hard, double, other = name.partition(" => ")
        path = root / (link if arrow else hard if double else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            path.symlink_to(target)
        elif double:
            path.hardlink_to(root / other)
        elif name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            path.chmod(0o644)
    return root
