"""What ADD brings from elsewhere: fetched once, into a folder from which every container of a pod reads it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from strata_builder import errors
from strata_builder.context import download, folder, git, gitprogram, gitref, url
from strata_builder.contract import GitSource
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
            return _source(place)
        except errors.BuildError as e:
            e.place = e.place or step.place
            raise

    def _bring(self, url: str, add: ins.Add, place: Path) -> None:
        if self._fetch is None:
            raise errors.InfrastructureFailed(f"{gitref.shown(url)} was not fetched")
        partial = place.with_name(f".{place.name}")
        partial.mkdir(parents=True)
        self._fetch(url, add, partial)
        partial.rename(place)


def fetcher(limit: int, client: download.Client, settings: gitprogram.Settings, *, local: bool = False) -> Fetch:
    """Fetches files over HTTP and commits with git, each of at most `limit` bytes, without any credential."""

    def fetch(address: str, add: ins.Add, place: Path) -> None:
        source = gitref.parse_context(address)
        if source is None:
            found = url.fetch(address, place / "file", checksum=add.checksum, limit=limit, client=client)
            found.file.chmod(url.MODE)
            return
        source = _pinned(source, add.checksum)
        keep = bool(add.keep_git_dir)
        done = git.fetch(source, place / "all", limit=limit, keep_git_dir=keep, settings=settings, local=local)
        done.folder.rename(place / "repository")

    return fetch


def name_of(address: str, add: ins.Add) -> str:
    """The folder of one ADD's source: by all that decides what is fetched."""
    return hashlib.sha256(repr((address, add.checksum, bool(add.keep_git_dir))).encode()).hexdigest()[:32]


def _pinned(source: GitSource, checksum: str) -> GitSource:
    """--checksum of a repository is its commit."""
    if checksum and not gitref.is_commit(checksum):
        raise errors.InvalidSpec(f"--checksum={checksum!r} is not a whole commit")
    return dataclasses.replace(source, commit=checksum or source.commit)


def _source(place: Path) -> selecting.Source:
    repository = place / "repository"
    found: folder.FolderTree = folder.FolderTree(repository) if repository.exists() else url.RemoteTree(place / "file")
    path = b"" if repository.exists() else os.fsencode(next((place / "file").iterdir()).name)
    entry = found.lookup(path)
    assert entry is not None
    return selecting.Source(found, path, path, entry, dated=not repository.exists())
