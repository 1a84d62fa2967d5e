"""What all builders of a case share: the registry with the bases, the server of files, and a folder for each case."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from differential.builds import bases, folders
from differential.builds.cases import Case
from support.file_server import Answer, FileServer
from support.registry_process import RegistryProcess


@dataclass
class Site:
    """`folder` is scratch; `node` holds the programs `registry` and `runc`. `upstreams` are the registries for which the
    site's own answers."""

    folder: Path
    node: Path
    upstreams: tuple[str, ...] = ("docker.io",)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._registry = stack.enter_context(RegistryProcess(self.node / "registry"))
            self._files = stack.enter_context(FileServer({}))
            bases.push_all(self._registry.host, self.folder / "testbase")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def registry(self) -> str:
        """Its host and port; by plain HTTP it stands in for `upstreams`."""
        return self._registry.host

    def blob(self, digest: str) -> bytes:
        """A blob of the registry, from where it stores it."""
        name = digest.removeprefix("sha256:")
        return (self._registry.storage / "blobs/sha256" / name[:2] / name / "data").read_bytes()

    @contextlib.contextmanager
    def written(self, case: Case, owner: tuple[int, int] | None = None) -> Iterator[tuple[Path, folders.Folders]]:
        """A scratch folder, and what `folders.write` made in it; meanwhile the files of the case are served."""
        work = self.folder / case.name.replace("/", "-")
        try:
            made = folders.write(case, work, self._files.url, owner)
            self._files.answers = dict(folders.served(case))
            yield work, made
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def serve_for(self, dockerfile: Path, answers: Mapping[str, Answer]) -> None:
        """Answers so, by path, from now on, at the address that is put into a Dockerfile for http://files."""
        folders.replace_served(dockerfile, self._files.url)
        self._files.answers = dict(answers)

    def serve(self, path: str, content: bytes) -> str:
        """The URL at which `content` can be had until the next case is written."""
        self._files.answers[path] = Answer(content)
        return self._files.url + path
