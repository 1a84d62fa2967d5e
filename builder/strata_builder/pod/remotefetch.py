"""Fetching what ADD names by URL: files over HTTP, commits with git."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from strata_builder import errors
from strata_builder.context import buildsecrets, download, git, gitprogram, gitref, url
from strata_builder.context.validators import Stored
from strata_builder.dockerfile import instructions as ins
from strata_builder.frozen import field, frozen, replace
from strata_builder.pod import remotes, storedfiles

# What an ADD reads has no source.secretRef, of which the errors of sources speak.
_LOGIN: Final = "give the build a token in its secret {}"
_AUTHORITY: Final = (
    "trust its authority: caBundle of the chart; SSL_CERT_FILE (of git GIT_SSL_CAINFO) for `strata build`"
)


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
        secret = "GIT_AUTH_TOKEN" if reference else f"HTTP_AUTH_TOKEN_{urlsplit(download.check_url(address)).hostname}"
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
        done.folder.rename(place / remotes.REPOSITORY)
        (place / remotes.COMMIT_TIME).write_text(str(done.source.time))

    def _settings(self, at: gitref.GitUrl) -> gitprogram.Settings:
        if at.scheme != "ssh":
            return self.settings
        agent = self.ssh()
        if agent is None:
            raise errors.SourceAuthFailed(
                f"{at} is read over ssh, and this build has no ssh agent",
                hint="give `strata build` --ssh default; an ImageBuild reads https, with a token in its secret GIT_AUTH_TOKEN",
            )
        return replace(self.settings, host_settings=True, agent=agent)


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


def in_pod(limit: int, ca: bytes, scratch: Path, secrets: Mapping[str, bytes]) -> Fetcher:
    """That of a pod, which has no agent and no files of its own to give."""
    return Fetcher(limit, download.Client(ca), gitprogram.Settings(ca=ca, scratch=scratch), secrets)
