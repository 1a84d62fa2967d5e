"""What ADD brings from elsewhere: fetched once, into a folder from which every container of a pod reads it."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.context import folder, gitref, headers, validators
from strata_builder.context.remotefile import RemoteFile
from strata_builder.context.tree import Tree
from strata_builder.context.validators import Stored
from strata_builder.dockerfile import instructions as ins
from strata_builder.dockerfile import sources
from strata_builder.engine import selecting, steps
from strata_builder.entries import Kind
from strata_builder.oci import platform
from strata_builder.oci.image import ImageConfig
from strata_builder.pod import storedfiles

#: Brings what lies at a URL into a folder; no content of a file that is still the one given.
Fetch = Callable[[str, ins.Add, Path, Stored | None], None]
REPOSITORY: Final = "repository"
COMMIT_TIME: Final = "time"


class Remotes:
    """An `engine.keys.Remotes` over `store`. Without `fetch`, what is not there yet is an error.

    `known` tells what earlier builds found at URLs; of a file that is still the same the content is fetched only when it
    is read.
    """

    def __init__(
        self, store: Path, fetch: Fetch | None = None, known: Callable[[], Mapping[str, Stored]] = dict
    ) -> None:
        self._store = store
        self._fetch = fetch
        self._known = known
        self._lock = threading.Lock()

    def tree(self, url: str, step: steps.Step) -> selecting.Source:
        add = step.instruction
        assert isinstance(add, ins.Add)
        place = self._store / name_of(url, add)
        try:
            with self._lock:
                if not place.exists():
                    self._bring(url, add, place, self._known().get(validators.url_id(url)))
            return self._source(place, url, add)
        except errors.BuildError as e:
            e.place = e.place or step.place.at(url)
            raise

    def complete(self, step: steps.Step) -> None:
        """Has the content of all that the ADD `step` names in `store`, for whoever reads there and cannot fetch."""
        add = step.instruction
        assert isinstance(add, ins.Add)
        for address in filter(sources.is_remote, add.sources):
            source = self.tree(address, step)
            if isinstance(source.tree, RemoteFile):
                source.tree.open(source.path).close()

    def time(self, url: str, add: ins.Add, place: errors.Place) -> int | None:
        """When what lies at `url` last changed: the commit's time, what the server says, else an archive's newest file."""
        found = self.tree(url, steps.Step(add, "", ImageConfig.scratch(platform.host()), "/", place))
        if found.dated:
            return found.entry.mtime or _newest(found)
        return int((self._store / name_of(url, add) / COMMIT_TIME).read_text()) or None

    def _bring(self, url: str, add: ins.Add, place: Path, stored: Stored | None) -> None:
        if self._fetch is None:
            raise errors.InfrastructureFailed(f"{gitref.shown(url)} was not fetched")
        partial = place.with_name(f".{place.name}")
        partial.mkdir(parents=True)
        self._fetch(url, add, partial, stored)
        partial.rename(place)

    def _source(self, place: Path, url: str, add: ins.Add) -> selecting.Source:
        if (repository := place / REPOSITORY).exists():
            found: Tree = folder.FolderTree(repository)
            path = b""
        else:
            stored = storedfiles.read(place)
            if stored.name == headers.UNNAMED and add.dest.endswith("/"):
                raise errors.InvalidSpec(
                    f"{gitref.shown(url)} does not say what the file is called",
                    hint="give the destination a file name of its own, without a slash at its end",
                )
            found = RemoteFile(stored, lambda: self._content(place, url, add, stored))
            path = found.path
        entry = found.lookup(path)
        assert entry is not None
        return selecting.Source(found, path, path, entry, dated=isinstance(found, RemoteFile))

    def _content(self, place: Path, url: str, add: ins.Add, stored: Stored) -> Path:
        """Where the body lies, which is fetched now if all that was asked before is whether it is still the same."""
        content = place / storedfiles.CONTENT
        with self._lock:
            if not content.exists():
                again = place.with_name(f"{place.name}.again")
                self._bring(url, add, again, None)
                if storedfiles.read(again).sha256 != stored.sha256:
                    raise errors.SourceUnavailable(f"{gitref.shown(url)} changed while it was built")
                (again / storedfiles.CONTENT).rename(content)
        return content


def _newest(found: selecting.Source) -> int | None:
    """The time of the newest file of a tar archive; None for anything else, and for one that is damaged."""
    from strata_builder.layers import unpack

    try:
        with contextlib.closing(found.tree.open(found.path)) as stream:
            return max((e.mtime for e, _ in unpack.read_layer(stream) if e.kind == Kind.FILE), default=None)
    except errors.LayerError:
        return None


def name_of(address: str, add: ins.Add) -> str:
    """The folder of one ADD's source: by all that decides what is fetched."""
    return hashlib.sha256(repr((address, add.checksum, bool(add.keep_git_dir))).encode()).hexdigest()[:32]
