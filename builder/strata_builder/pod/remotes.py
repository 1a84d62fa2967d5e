"""What ADD brings from elsewhere: fetched once, into a folder from which every container of a pod reads it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from strata_builder import errors
from strata_builder.context import buildsecrets, download, folder, git, gitprogram, gitref, headers, url, validators
from strata_builder.context.remotefile import RemoteFile
from strata_builder.context.tree import Tree
from strata_builder.context.validators import Stored
from strata_builder.dockerfile import instructions as ins
from strata_builder.dockerfile import sources
from strata_builder.engine import selecting, steps
from strata_builder.entries import Kind
from strata_builder.frozen import frozen
from strata_builder.layers import unpack
from strata_builder.oci import platform
from strata_builder.oci.image import ImageConfig
from strata_builder.pod import storedfiles

#: Brings what lies at a URL into a folder; no content of a file that is still the one given.
Fetch = Callable[[str, ins.Add, Path, Stored | None], None]
_REPOSITORY: Final = "repository"
_COMMIT_TIME: Final = "time"
# What an ADD reads has no source.secretRef, of which the errors of sources speak.
_LOGIN: Final = "give the build a token in its secret {}"
_AUTHORITY: Final = (
    "trust its authority: caBundle of the chart; SSL_CERT_FILE (of git GIT_SSL_CAINFO) for `strata build`"
)


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
        return int((self._store / name_of(url, add) / _COMMIT_TIME).read_text()) or None

    def _bring(self, url: str, add: ins.Add, place: Path, stored: Stored | None) -> None:
        if self._fetch is None:
            raise errors.InfrastructureFailed(f"{gitref.shown(url)} was not fetched")
        partial = place.with_name(f".{place.name}")
        partial.mkdir(parents=True)
        self._fetch(url, add, partial, stored)
        partial.rename(place)

    def _source(self, place: Path, url: str, add: ins.Add) -> selecting.Source:
        if (repository := place / _REPOSITORY).exists():
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
                if storedfiles.read(again).digest != stored.digest:
                    raise errors.SourceUnavailable(f"{gitref.shown(url)} changed while it was built")
                (again / storedfiles.CONTENT).rename(content)
        return content


@frozen
class Fetcher:
    """Fetches files over HTTP and commits with git, each of at most `limit` bytes, with the credentials that `secrets`
    has for them. `ssh` gives the socket of the agent for git over ssh; `local` allows file:// URLs."""

    limit: int
    client: download.Client
    settings: gitprogram.Settings
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    ssh: Callable[[], Path | None] = lambda: None
    local: bool = False

    def __call__(self, address: str, add: ins.Add, place: Path, stored: Stored | None) -> None:
        reference = gitref.parse_context(address)
        secret = "GIT_AUTH_TOKEN" if reference else f"HTTP_AUTH_TOKEN_{urlsplit(address).hostname}"
        try:
            if reference is None:
                self._file(address, add, place, stored)
            else:
                self._repository(reference, add, place)
        except errors.SourceAuthFailed as e:
            e.hint = {errors.LOGIN: _LOGIN.format(secret), errors.AUTHORITY: _AUTHORITY}.get(e.lacks, e.hint)
            raise

    def _file(self, address: str, add: ins.Add, place: Path, stored: Stored | None) -> None:
        found = url.fetch(
            address,
            place / storedfiles.CONTENT,
            checksum=add.checksum,
            stored=stored,
            limit=self.limit,
            client=self.client,
            credentials=buildsecrets.for_file(self.secrets, address),
        )
        storedfiles.write(place, address, found)

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
        done.folder.rename(place / _REPOSITORY)
        (place / _COMMIT_TIME).write_text(str(done.source.time))

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


def _newest(found: selecting.Source) -> int | None:
    """The time of the newest file of a tar archive; None for anything else, and for one that is damaged."""
    try:
        with contextlib.closing(found.tree.open(found.path)) as stream:
            return max((e.mtime for e, _ in unpack.read_layer(stream) if e.kind == Kind.FILE), default=None)
    except errors.LayerError:
        return None


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
