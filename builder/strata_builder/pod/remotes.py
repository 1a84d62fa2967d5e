"""What ADD brings from elsewhere: fetched once, into a folder from which every container of a pod reads it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from strata_builder import errors
from strata_builder.context import buildsecrets, download, folder, git, gitprogram, gitref, url
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import selecting, steps

Fetch = Callable[[str, ins.Add, Path], None]


class Remotes:
    """An `engine.keys.Remotes` over `store`. Without `fetch`, what is not there yet is an error."""

    def __init__(self, store: Path, fetch: Fetch | None = None) -> None:
        self._store = store
        self._fetch = fetch

    def tree(self, url: str, step: steps.Step) -> selecting.Source:
        add = step.instruction
        assert isinstance(add, ins.Add)
        place = self._store / name_of(url, add)
        try:
            if not place.exists():
                self._bring(url, add, place)
            return _source(place, url, add)
        except errors.BuildError as e:
            e.place = e.place or step.place.at(url)
            raise

    def _bring(self, url: str, add: ins.Add, place: Path) -> None:
        if self._fetch is None:
            raise errors.InfrastructureFailed(f"{gitref.shown(url)} was not fetched")
        partial = place.with_name(f".{place.name}")
        partial.mkdir(parents=True)
        self._fetch(url, add, partial)
        partial.rename(place)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches files over HTTP and commits with git, each of at most `limit` bytes, with the credentials that `secrets`
    has for them. `ssh` gives the socket of the agent for git over ssh; `local` allows file:// URLs."""

    limit: int
    client: download.Client
    settings: gitprogram.Settings
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    ssh: Callable[[], Path | None] = lambda: None
    local: bool = False

    def __call__(self, address: str, add: ins.Add, place: Path) -> None:
        reference = gitref.parse_context(address)
        secret = "GIT_AUTH_TOKEN" if reference else f"HTTP_AUTH_TOKEN_{urlsplit(address).hostname}"
        try:
            if reference is None:
                self._file(address, add, place)
            else:
                self._repository(reference, add, place)
        except errors.SourceAuthFailed as e:
            if "Secret of the source" in e.hint or not e.hint:
                e.hint = f"give the build a token in its secret {secret}"
            raise

    def _file(self, address: str, add: ins.Add, place: Path) -> None:
        credentials = buildsecrets.for_file(self.secrets, address)
        found = url.fetch(
            address,
            place / "file",
            checksum=add.checksum,
            limit=self.limit,
            client=self.client,
            credentials=credentials,
        )
        found.file.chmod(url.MODE)

    def _repository(self, reference: gitref.Reference, add: ins.Add, place: Path) -> None:
        at = gitref.parse_url(reference.source.url, local=self.local)
        done = git.fetch(
            reference.source,
            place / "all",
            buildsecrets.for_git(self.secrets, at),
            checksum=_agreed("checksum", gitref.check_checksum(add.checksum), reference.checksum) or "",
            limit=self.limit,
            keep_git_dir=bool(_agreed("keep-git-dir", add.keep_git_dir, reference.keep_git_dir)),
            settings=self._settings(at),
            local=self.local,
        )
        done.folder.rename(place / "repository")

    def _settings(self, at: gitref.GitUrl) -> gitprogram.Settings:
        if at.scheme != "ssh":
            return self.settings
        agent = self.ssh()
        if agent is None:
            raise errors.SourceAuthFailed(
                f"{at} is read over ssh, and this build has no ssh agent",
                hint="give `strata build` --ssh default; an ImageBuild reads https, with a token in its secret GIT_AUTH_TOKEN",
            )
        return dataclasses.replace(self.settings, host_settings=True, agent=agent)


_Said = TypeVar("_Said", str, bool | None)


def _agreed(name: str, flag: _Said, query: _Said) -> _Said:
    """What the flag of an ADD and the query of its URL say together."""
    if flag in (None, ""):
        return query
    if query not in (None, "", flag):
        raise errors.InvalidSpec(
            f"--{name} says {str(flag).lower()}, and the URL {str(query).lower()}", hint="leave one of them out"
        )
    return flag


def name_of(address: str, add: ins.Add) -> str:
    """The folder of one ADD's source: by all that decides what is fetched."""
    return hashlib.sha256(repr((address, add.checksum, bool(add.keep_git_dir))).encode()).hexdigest()[:32]


def _source(place: Path, address: str, add: ins.Add) -> selecting.Source:
    repository = place / "repository"
    found: folder.FolderTree = folder.FolderTree(repository) if repository.exists() else url.RemoteTree(place / "file")
    path = b"" if repository.exists() else os.fsencode(next((place / "file").iterdir()).name)
    if path == url.UNNAMED.encode() and add.dest.endswith("/"):
        raise errors.InvalidSpec(
            f"{gitref.shown(address)} does not say what the file is called",
            hint="give the destination a file name of its own, without a slash at its end",
        )
    entry = found.lookup(path)
    assert entry is not None
    return selecting.Source(found, path, path, entry, dated=not repository.exists())
