"""Asking one git server once, for everybody: with manners, in the cheapest way that it understands."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import time
from collections.abc import Sequence
from typing import Final

from strata_builder import contract, errors
from strata_builder.context import credentials, gitref, gitremote
from strata_operator import controller
from strata_operator.addresses import Filter
from strata_operator.imagebuild import isolation, questions
from strata_operator.imagebuild.triggers import git, hosts, lsrefs, proxies, smarthttp

_UNSUITED: Final = 6 * 3600.0  # seconds for which a server that does not speak our protocol is asked by git at once
_LARGEST: Final = 10_000  # URLs of such servers

Found = bytes | questions.Unseen | questions.Later | contract.Failure


class Asker:
    """Belongs to one event loop."""

    def __init__(self, frame: controller.Frame, admits: Filter) -> None:
        options = frame.settings
        self._options, self._admits = options, admits
        self._ca = frame.authorities.encode()
        self.hosts = hosts.Hosts(time.monotonic, per_host=options.polls_per_host, overall=options.polls_at_once)
        self._client = smarthttp.Client(admits, ca=self._ca, timeout=git.TIMEOUT)
        self._programs = concurrent.futures.ThreadPoolExecutor(options.polls_at_once, "git")
        self._unsuited: dict[str, float] = {}
        frame.closers.append(self.close)

    async def ask(self, address: str, revisions: Sequence[str], login: credentials.Credentials) -> Found:
        """Lines as of `git ls-remote` in which `chosen` finds each of `revisions`. Never raises for what a server does."""
        try:
            url = _parsed(address)
            names = list(dict.fromkeys(n for r in revisions for n in gitremote.candidates(gitref.check_revision(r))))
        except errors.BuildError as e:
            return isolation.failure(e)
        host = _host(url)
        async with self.hosts.turn(host):
            if wait := self.hosts.wait(host):
                return questions.Later(wait, left_alone(self.hosts.reason(host)))
            return await self._judged(url, host, names, login)

    async def close(self) -> None:
        await self._client.close()
        self._programs.shutdown(wait=False, cancel_futures=True)

    async def _judged(
        self, url: gitref.GitUrl, host: str, names: Sequence[str], login: credentials.Credentials
    ) -> Found:
        try:
            found = await self._listing(url, names, login)
        except (smarthttp.Refused, git.Refused):
            return questions.Unseen(git.REFUSED)
        except smarthttp.HostFailed as e:
            said = hosts.retry_after(e.retry_after, time.time())
            self.hosts.failed(host, str(e), retry_after=said)
            return contract.Failure("SourceUnavailable", left_alone(str(e)), retryable=True)
        except errors.SourceUnavailable as e:
            # Who waits for the host is told this, and may not know of the repository.
            self.hosts.failed(host, f"{url.host} could not be asked")
            return isolation.failure(e)
        except errors.BuildError as e:
            self.hosts.answered(host)
            return isolation.failure(e)
        self.hosts.answered(host)
        return found

    async def _listing(self, url: gitref.GitUrl, names: Sequence[str], login: credentials.Credentials) -> bytes:
        proxy = proxies.of(url, self._options)
        if url.scheme in ("http", "https") and self._unsuited.get(url.address, 0.0) <= time.monotonic():
            try:
                return await self._client.listing(url, names, _merged(url, login), proxy=proxy)
            except lsrefs.Unsuited:
                found = await self._by_program(url, names, login, proxy)
                if len(self._unsuited) >= _LARGEST:
                    self._unsuited.clear()
                self._unsuited[url.address] = time.monotonic() + _UNSUITED  # git has made sense of it
                return found
        return await self._by_program(url, names, login, proxy)

    async def _by_program(
        self, url: gitref.GitUrl, names: Sequence[str], login: credentials.Credentials, proxy: str
    ) -> bytes:
        def listing() -> bytes:
            return git.listing(url, names, login, admits=self._admits, ca=self._ca, proxy=proxy)

        return await asyncio.get_running_loop().run_in_executor(self._programs, listing)


def chosen(listing: bytes, revision: str, url: str) -> questions.Resolved | contract.Failure:
    """Where `revision` stands in a listing of the repository at `url`."""
    try:
        found = gitremote.choose(listing, revision, gitref.shown(url))
    except errors.BuildError as e:
        return isolation.failure(e)
    return questions.Resolved(found.commit, found.name)


def _merged(url: gitref.GitUrl, login: credentials.Credentials) -> credentials.Credentials:
    """A user and password in the URL serve where the Secret has none, as for the git program."""
    if login.bearer_token or login.password or not (url.user or url.password):
        return login
    return credentials.Credentials(login.username or url.user, url.password, ca=login.ca)


def host(address: str) -> str | None:
    """The host of a URL by the name that manners know it by; None if it is no URL."""
    try:
        return _host(_parsed(address))
    except errors.BuildError:
        return None


def left_alone(reason: str) -> str:
    """What is said of a host that failed. No times: a message that changes is a write."""
    return f"{reason}. The host is left alone for a while, and then asked again by itself"


@functools.lru_cache(maxsize=8192)
def _parsed(address: str) -> gitref.GitUrl:
    return gitref.parse_url(address)


def _host(url: gitref.GitUrl) -> str:
    """With the scheme: who speaks http to a port of https must not have others wait for it."""
    return f"{url.scheme}://{url.host}:{url.port or git.PORTS[url.scheme]}"
