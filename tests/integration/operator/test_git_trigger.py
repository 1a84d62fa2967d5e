"""Asking real git servers where revisions stand: http, https with passwords and tokens, ssh; pools that count requests."""

import asyncio
import base64
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from strata_builder import contract
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_operator import addresses, kube, names, settings
from strata_operator.imagebuild import questions
from strata_operator.imagebuild.triggers import asking, git, hosts, poller, pools
from support.git_server import HttpServer, Repository, server_tls, sshd
from support.git_server import git as run_git

pytestmark = pytest.mark.asyncio
HERE = ["127.0.0.0/8"]
KEY = names.Key("team", "web")


@dataclass
class Operator:
    """An asker and a poller as an operator has them, without the operator. `secrets` are by (namespace, name)."""

    allowed: list[str] = field(default_factory=lambda: HERE)
    ca: bytes = b""
    options: dict[str, Any] = field(default_factory=dict)
    secrets: dict[tuple[str, str], dict[str, bytes] | None] = field(default_factory=dict)
    queued: list[tuple[names.Key, float]] = field(default_factory=list)
    woken: list[names.Key] = field(default_factory=list)
    now: float = field(default_factory=time.time)

    async def __aenter__(self) -> Self:
        self.frame: Any = SimpleNamespace(
            settings=settings.Settings("strata-system", **self.options),
            authorities=self.ca.decode(),
            closers=[],
            enqueue=lambda _kind, key, delay=0.0: self.queued.append((key, delay)),
            kube=SimpleNamespace(get=self._secret),
        )
        self.asker = asking.Asker(self.frame, addresses.Filter.of(self.allowed))
        self.poller = poller.Poller(self.frame, self.asker, wake=self.woken.append, clock=lambda: self.now)
        return self

    async def __aexit__(self, *_: object) -> None:
        for close in self.frame.closers:
            await close()

    async def _secret(self, _resource: names.Resource, namespace: str, name: str) -> kube.Object | None:
        found = self.secrets.get((namespace, name), {})
        if found is None:
            raise kube.Forbidden(403, "Forbidden", "no")
        return {"data": {key: base64.b64encode(value).decode() for key, value in found.items()}} if found else None

    async def resolve(self, url: str, revision: str = "main", login: Credentials = ANONYMOUS) -> Any:
        found = await self.asker.ask(url, [revision], login)
        return asking.chosen(found, revision, url) if isinstance(found, bytes) else found

    def watch(self, url: str, name: str = "web", namespace: str = "team", **fields: Any) -> None:
        values: dict[str, Any] = {"revision": "main", "secret": "", "interval": 300.0} | fields
        key = names.Key(namespace, name)
        self.poller.watch(key, pools.Interest(key, url, **values))

    async def polled(self, url: str) -> float | None:
        """The look of the moment at which it is time, whenever that is."""
        wait = await self.poller.poll(names.Key("", url))
        if wait:
            self.now += wait
            wait = await self.poller.poll(names.Key("", url))
        return wait

    def known(
        self, url: str, name: str = "web", revision: str = "main", secret: str = "", namespace: str = "team"
    ) -> Any:
        found = self.poller.known(names.Key(namespace, name), questions.Polled(url, revision, secret))
        return found.commit if isinstance(found, questions.Resolved) else found


@contextlib.asynccontextmanager
async def operator(**fields: Any) -> AsyncIterator[Operator]:
    async with Operator(**fields) as made:
        yield made


@pytest.fixture
def no_git(monkeypatch):
    """The git program must not be needed."""

    def refuse(*_: Any, **__: Any) -> bytes:
        raise AssertionError("the git program was asked")

    monkeypatch.setattr(git, "listing", refuse)


@pytest.fixture
def counted_git(monkeypatch):
    """How often the git program was asked."""
    calls: list[tuple[str, ...]] = []
    real = git.listing

    def listing(url: Any, wanted: Any, login: Any, **options: Any) -> bytes:
        calls.append(tuple(wanted))
        return real(url, wanted, login, **options)

    monkeypatch.setattr(git, "listing", listing)
    return calls


async def test_a_branch_that_moves_is_seen_with_one_request_a_look(tmp_path, no_git):
    repository = Repository.make(tmp_path)
    first = repository.commit({"a": "1"})
    with HttpServer(tmp_path) as server:
        url = f"{server.url}/app.git"
        async with operator() as here:
            assert await here.resolve(url) == questions.Resolved(first, "refs/heads/main")
            second = repository.commit({"a": "2"})
            assert await here.resolve(url) == questions.Resolved(second, "refs/heads/main")
            assert await here.resolve(url, "") == questions.Resolved(second, "HEAD")
        assert [path for path, _ in server.log] == ["/app.git/git-upload-pack"] * 3


async def test_tags_full_names_and_the_default_branch_mean_what_they_mean_to_the_git_program(tmp_path, counted_git):
    repository = Repository.make(tmp_path)
    commit = repository.commit({"a": "1"})
    run_git("tag", "-a", "-m", "one", "v1", cwd=repository.folder)
    run_git("tag", "light", cwd=repository.folder)
    repository.push("refs/tags/v1", "refs/tags/light", "HEAD:refs/heads/v1-next", "HEAD:refs/changes/01/1")
    repository.commit({"a": "2"})
    revisions = [
        "v1",
        "light",
        "v1-next",
        "refs/tags/v1",
        "refs/changes/01/1",
        "HEAD",
        "",
        "main",
        "heads/main",
        "nope",
        "v",
    ]
    with (
        HttpServer(tmp_path) as smart,
        HttpServer(tmp_path, smart=False) as dumb,
        HttpServer(tmp_path, protocol_v2=False) as old,
    ):
        async with operator() as here:
            answers = [
                [await here.resolve(f"{server.url}/app.git", revision) for revision in revisions]
                for server in (smart, dumb, old)
            ]
    texts = [[str(a).replace(s.url, "") for a in found] for found, s in zip(answers, (smart, dumb, old), strict=True)]
    assert texts[0] == texts[1] == texts[2]
    assert answers[0][0] == questions.Resolved(commit, "refs/tags/v1")
    assert [getattr(answer, "reason", "") for answer in answers[0][-2:]] == ["ReferenceNotFound"] * 2
    assert len(counted_git) == 2 * len(revisions)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
@pytest.mark.parametrize("protocol_v2", [True, False])
async def test_a_branch_whose_name_goes_on_after_a_line_separator_is_another_one(tmp_path, separator, protocol_v2):
    """Who may push some branch must not have it built as one that is protected."""
    repository = Repository.make(tmp_path)
    commit = repository.commit({"a": "1"})
    repository.commit({"a": "2"}, branch=f"main{separator}x")
    repository.push(f"HEAD:refs/heads/none{separator}x")
    with HttpServer(tmp_path, protocol_v2=protocol_v2) as server:
        async with operator() as here:
            assert await here.resolve(f"{server.url}/app.git") == questions.Resolved(commit, "refs/heads/main")
            assert (await here.resolve(f"{server.url}/app.git", "none")).reason == "ReferenceNotFound"


async def test_a_server_of_another_protocol_is_asked_by_git_at_once_from_then_on(tmp_path, counted_git):
    Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path, protocol_v2=False) as server:
        async with operator() as here:
            await here.resolve(f"{server.url}/app.git")
            first = len(server.log)
            await here.resolve(f"{server.url}/app.git")
    posts = [path for path, _ in server.log if path.endswith("/git-upload-pack")]
    assert len(posts) == 1
    assert first == 2
    assert len(counted_git) == 2


async def test_passwords_tokens_and_authorities_are_used(tmp_path, no_git):
    tls, ca = server_tls(tmp_path)
    commit = Repository.make(tmp_path).commit({"a": "1"})
    expected = questions.Resolved(commit, "refs/heads/main")
    with HttpServer(tmp_path, user="u", password="p", tls=tls) as server:
        login = {"username": b"u", "password": b"p"}
        async with operator(ca=ca) as here:
            assert await here.resolve(f"{server.url}/app.git", login=Credentials.of(login)) == expected
        async with operator() as here:
            assert await here.resolve(f"{server.url}/app.git", login=Credentials.of(login | {"ca.crt": ca})) == expected
    with HttpServer(tmp_path, token="t") as server:
        async with operator() as here:
            assert await here.resolve(f"{server.url}/app.git", login=Credentials.of({"bearerToken": b"t"})) == expected


async def test_refusals_are_told_without_the_secret(tmp_path):
    tls, ca = server_tls(tmp_path)
    Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path, user="u", password="p", tls=tls) as server:
        url = f"{server.url}/app.git"
        async with operator(ca=ca) as here:
            wrong = await here.resolve(url, login=Credentials.of({"username": b"u", "password": b"wrong-one"}))
            none = await here.resolve(url)
            assert here.asker.hosts.wait(f"https://127.0.0.1:{server.port}") == 0  # the host is well
        async with operator() as here:
            untrusted = await here.resolve(url)
    header = base64.b64encode(b"u:wrong-one").decode()
    for failure in (wrong, none, untrusted):
        assert isinstance(failure, contract.Failure)
        assert failure.reason == "SourceAuthFailed"
        assert header not in str(failure)
        assert "wrong-one" not in str(failure)
    assert "certificate" in untrusted.message


async def test_what_is_not_there_and_who_is_not_there(tmp_path):
    Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path) as server:
        async with operator() as here:
            missing = await here.resolve(f"{server.url}/app.git", "nope")
            nothing = await here.resolve(f"{server.url}/none.git")
            moved = f"{server.url}/app.git"
    assert (missing.reason, "nope" in missing.message) == ("ReferenceNotFound", True)
    assert nothing.reason == "SourceNotFound"
    async with operator() as here:
        away = await here.resolve(moved)
        assert away.reason == "SourceUnavailable"
        later = await here.resolve(moved)
        assert isinstance(later, questions.Later)
        assert 0 < later.seconds <= 5
        unknown = await here.resolve("https://no-such-host.invalid/a.git")
        assert unknown.reason == "SourceUnavailable"
        assert (await here.resolve("file:///etc/a.git")).reason == "InvalidSpec"
        assert (await here.resolve("https://git.example/a.git", "--upload-pack=x")).reason == "InvalidSpec"


async def test_a_redirect_is_not_followed(tmp_path):
    Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path) as inner, HttpServer(tmp_path, redirect=inner.url) as server:
        async with operator() as here:
            answer = await here.resolve(f"{server.url}/app.git")
            assert (answer.reason, inner.log) == ("SourceNotFound", [])


@pytest.mark.parametrize("protocol_v2", [True, False])
async def test_an_address_inside_is_never_asked(tmp_path, protocol_v2):
    Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path, protocol_v2=protocol_v2) as server:
        async with operator(allowed=["192.0.2.0/24"]) as here:
            for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]"):
                answer = await here.resolve(f"http://{host}:{server.port}/app.git")
                assert isinstance(answer, questions.Unseen), host
                assert "pollAllowedCidrs" in answer.message
            answer = await here.resolve(f"ssh://git@localhost:{server.port}/app.git")
            assert isinstance(answer, questions.Unseen)
        assert server.log == []


@pytest.mark.parametrize(
    ("status", "reason"), [("404 Not Found", "SourceNotFound"), ("401 Unauthorized", "SourceAuthFailed")]
)
async def test_an_ipv6_address_is_asked_like_a_name(status, reason):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        login = b"WWW-Authenticate: Basic\r\n"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n".encode() + login + b"\r\n")
        writer.close()

    try:
        server = await asyncio.start_server(answer, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with server, operator(allowed=["::1/128", "0.0.0.1/32"]) as here:
        port = server.sockets[0].getsockname()[1]
        assert (await here.resolve(f"http://[::1]:{port}/app.git")).reason == reason


async def test_a_name_that_means_another_address_when_it_is_looked_up_again_reaches_nothing(
    tmp_path, monkeypatch, no_git
):
    """DNS rebinding: what was admitted is what is connected to; and what is looked up anew is filtered anew."""
    Repository.make(tmp_path).commit({"a": "1"})
    looks: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host not in ("rebind.example", b"rebind.example"):
            return real(host, port, *rest, **more)
        looks.append(host)
        return real("127.0.0.2" if len(looks) == 1 else "127.0.0.1", port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with (
        HttpServer(tmp_path, host="127.0.0.1") as server,
        HttpServer(tmp_path, host="127.0.0.2", port=server.port) as admitted,
    ):
        async with operator(allowed=["127.0.0.2/32"]) as here:
            url = f"http://rebind.example:{server.port}/app.git"
            assert isinstance(await here.resolve(url), questions.Resolved)
            assert (len(admitted.log), len(looks)) == (1, 1)
        async with operator(allowed=["127.0.0.2/32"]) as here:
            assert isinstance(await here.resolve(url), questions.Unseen)
        assert server.log == []


async def test_a_proxy_is_used_and_what_is_excepted_from_it_is_filtered(tmp_path, counted_git):
    """A proxy may reach what it may; noProxy does not open the inside to users."""
    commit = Repository.make(tmp_path).commit({"a": "1"})

    with HttpServer(tmp_path) as server:
        options = {"http_proxy": server.url, "no_proxy": "localhost"}
        async with operator(allowed=[], options=options) as here:
            # a proxy gets `POST http://git.example/app.git/...`, of which git http-backend takes the path
            assert await here.resolve("http://git.example/app.git") == questions.Resolved(commit, "refs/heads/main")
            seen = len(server.log)
            assert isinstance(await here.resolve(f"http://localhost:{server.port}/app.git"), questions.Unseen)
            assert len(server.log) == seen
    assert counted_git == []


@pytest.mark.parametrize(
    ("status", "header", "least"), [(429, "120", 119), (503, "", 4), (503, "60", 59), (502, "", 4)]
)
async def test_a_host_that_wants_to_be_left_alone_is(tmp_path, no_git, status, header, least):
    Repository.make(tmp_path).commit({"a": "1"})
    Repository.make(tmp_path, "other").commit({"a": "1"})
    with HttpServer(tmp_path, refuse=status, retry_after=header) as server:
        async with operator() as here:
            answer = await here.resolve(f"{server.url}/app.git")
            assert (answer.reason, answer.retryable) == ("SourceUnavailable", True)
            assert str(status) in answer.message
            later = await here.resolve(f"{server.url}/other.git")
            assert isinstance(later, questions.Later)
            assert least <= later.seconds <= 130
            assert len(server.log) == 1


async def test_the_git_program_reads_ssh_and_only_with_keys(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("sshd needs root")
    repository = Repository.make(tmp_path)
    commit = repository.commit({"a": "1"})
    with sshd(tmp_path / "ssh") as server:
        url = f"{server.url}{repository.bare}"
        login = Credentials.of({"identity": server.identity, "known_hosts": server.known_hosts})
        async with operator() as here:
            assert await here.resolve(url, login=login) == questions.Resolved(commit, "refs/heads/main")
            assert (await here.resolve(url)).reason == "SourceAuthFailed"
        async with operator(allowed=[]) as here:
            assert isinstance(await here.resolve(url, login=login), questions.Unseen)


async def test_one_look_serves_all_revisions_of_all_namespaces(tmp_path, no_git):
    repository = Repository.make(tmp_path)
    commit = repository.commit({"a": "1"})
    repository.push(*(f"HEAD:refs/heads/b{n}" for n in range(120)))
    with HttpServer(tmp_path) as server:
        url = f"{server.url}/app.git"
        async with operator() as here:
            for n in range(120):
                here.watch(url, f"web{n}", f"team{n % 7}", revision=f"b{n}")
            await here.polled(url)
            assert len(server.log) == 2  # three names for each revision, at most 300 in a request
            assert {here.known(url, f"web{n}", f"b{n}", namespace=f"team{n % 7}") for n in range(120)} == {commit}
            assert len(here.woken) == 120  # none of them knew of it


async def test_equal_credentials_are_one_look_and_others_are_their_own(tmp_path, no_git):
    commit = Repository.make(tmp_path).commit({"a": "1"})
    login = {"username": b"u", "password": b"p"}
    with HttpServer(tmp_path, user="u", password="p") as server:
        url = f"{server.url}/app.git"
        secrets: dict[tuple[str, str], Any] = {(f"team{n}", "login"): login for n in range(20)}
        secrets |= {("closed", "login"): None, ("absent", "login"): {}}
        async with operator(secrets=secrets) as here:
            for n in range(20):
                here.watch(url, "web", f"team{n}", secret="login")
            here.watch(url, "web", "closed", secret="login")
            here.watch(url, "web", "absent", secret="login")
            await here.polled(url)
            assert len(server.log) == 1
            assert {here.known(url, secret="login", namespace=f"team{n}") for n in range(20)} == {commit}
            closed, absent = (here.known(url, secret="login", namespace=n) for n in ("closed", "absent"))
            assert isinstance(closed, questions.Unseen)
            assert "kubectl create rolebinding strata-secret-reader --namespace closed" in closed.message
            assert absent.reason == "ReferenceNotFound"


async def test_who_may_not_read_gets_nothing_of_what_others_may(tmp_path):
    """One pool, two logins: the answer to one never serves the other."""
    Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path, user="u", password="p") as server:
        url = f"{server.url}/app.git"
        secrets: dict[tuple[str, str], Any] = {
            ("team", "login"): {"username": b"u", "password": b"p"},
            ("spy", "login"): {"username": b"u", "password": b"guessed"},
        }
        async with operator(secrets=secrets) as here:
            here.watch(url, secret="login")
            here.watch(url, namespace="spy", secret="login")
            here.watch(url, "open", namespace="spy")
            await here.polled(url)
            assert isinstance(here.known(url, secret="login"), str)
            assert here.known(url, secret="login", namespace="spy").reason == "SourceAuthFailed"
            assert here.known(url, "open", namespace="spy").reason == "SourceAuthFailed"


async def test_a_thousand_hints_cost_two_looks(tmp_path, no_git):
    repository = Repository.make(tmp_path)
    first = repository.commit({"a": "1"})
    with HttpServer(tmp_path) as server:
        url = f"{server.url}/app.git"
        async with operator() as here:
            here.watch(url, interval=86_400.0, commit=first)
            here.now += 3600
            second = repository.commit({"a": "2"})
            for _ in range(1000):
                assert here.poller.hint(lambda key, at: key == KEY and at == url) == 1
                await here.poller.poll(names.Key("", url))
                here.now += 0.005
            assert here.known(url) == second
            here.now += 10
            for _ in range(5):
                await here.poller.poll(names.Key("", url))
            assert len(server.log) == 2
            assert here.woken == [KEY, KEY]  # its status still says the old commit
            assert here.poller.hint(lambda key, _: key.name == "somebody else") == 0


async def test_hosts_that_fail_hold_nobody_up_and_it_is_said_when_it_lasts(tmp_path):
    Repository.make(tmp_path).commit({"a": "1"})
    Repository.make(tmp_path, "other").commit({"a": "1"})
    with HttpServer(tmp_path, refuse=429, retry_after="3000") as server:
        url, other = f"{server.url}/app.git", f"{server.url}/other.git"
        async with operator() as here:
            here.watch(url)
            here.watch(other, "other", interval=3600.0)
            await here.polled(url)
            assert here.known(url).reason == "SourceUnavailable"
            assert here.woken == [KEY]
            pool = here.poller._pools.get(other)
            assert pool is not None
            here.now += pool.wait(here.now)
            wait = await here.poller.poll(names.Key("", other))
            assert wait is not None
            assert 2900 < wait < 6100
            assert here.known(other, "other") is None  # a moment is not worth a word
            here.now += 2 * 3600
            await here.poller.poll(names.Key("", other))
            assert "429" in here.known(other, "other").message
            assert len(server.log) == 1
            server.refuse = 0
            here.asker.hosts = hosts.Hosts(lambda: here.now, per_host=1, overall=1)  # its time is over
            here.now += 1
            await here.poller.poll(names.Key("", other))
            assert isinstance(here.known(other, "other"), str)


PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEYS = Credentials.of({"identity": b"x", "known_hosts": b"x"})


@pytest.mark.parametrize(
    ("wrong", "login"),
    [("http://", ANONYMOUS), ("ssh://git@", KEYS), ("https://", Credentials.of({"ca.crt": PEM}))],
    ids=["http", "ssh", "authorities"],
)
async def test_what_one_gets_wrong_has_nobody_else_wait_for_the_host(tmp_path, wrong, login):
    tls, ca = server_tls(tmp_path)
    commit = Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path, tls=tls) as server:
        async with operator(ca=ca) as here:
            failed = await here.resolve(f"{wrong}127.0.0.1:{server.port}/app.git", login=login)
            assert isinstance(failed, contract.Failure)
            assert await here.resolve(f"{server.url}/app.git") == questions.Resolved(commit, "refs/heads/main")


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("protocol_v2", [True, False])
async def test_who_waits_for_a_host_is_not_told_what_others_asked_it_for(tmp_path, status, protocol_v2):
    with HttpServer(tmp_path, refuse=status, protocol_v2=protocol_v2) as server:
        async with operator() as here:
            own = await here.resolve(f"{server.url}/acquisition.git", "rename")
            assert own.reason == "SourceUnavailable"
            here.watch(f"{server.url}/app.git", "other")
            here.now += 3600
            await here.polled(f"{server.url}/app.git")
            told = [await here.resolve(f"{server.url}/app.git"), here.known(f"{server.url}/app.git", "other")]
            assert isinstance(told[0], questions.Later)
            for one in told:
                assert "127.0.0.1" in one.message
                assert not [word for word in ("acquisition", "rename") if word in str(one)]


@pytest.mark.parametrize("status", [400, 405, 410, 422, 451])
async def test_a_host_that_has_no_such_repository_is_well(tmp_path, status):
    with HttpServer(tmp_path, refuse=status) as server:
        async with operator() as here:
            assert (await here.resolve(f"{server.url}/app.git")).reason == "SourceNotFound"
            assert here.asker.hosts.reason(f"http://127.0.0.1:{server.port}") == ""


async def test_a_host_that_fails_between_two_logins_is_told_to_whom_it_failed(tmp_path):
    Repository.make(tmp_path).commit({"a": "1"})
    with HttpServer(tmp_path, refuse=503) as server:
        url = f"{server.url}/app.git"
        secrets: dict[tuple[str, str], Any] = {("team", "login"): {"username": b"u", "password": b"p"}}
        async with operator(secrets=secrets) as here:
            here.watch(url, "open")
            here.watch(url, secret="login")
            await here.polled(url)
            told = [here.known(url, "open"), here.known(url, secret="login")]
            assert [getattr(one, "reason", None) for one in told] == ["SourceUnavailable", None]
            assert len(server.log) == 1


async def test_requests_at_once_are_bounded(tmp_path, no_git):
    for n in range(12):
        Repository.make(tmp_path, f"app{n}").commit({"a": "1"})

    class Slow(HttpServer):
        busy = most = 0

        def admits(self, header: str) -> bool:
            Slow.busy += 1
            Slow.most = max(Slow.most, Slow.busy)
            time.sleep(0.1)
            Slow.busy -= 1
            return True

    with Slow(tmp_path) as server:
        async with operator(options={"polls_per_host": 3}) as here:
            answers = await asyncio.gather(*(here.resolve(f"{server.url}/app{n}.git") for n in range(12)))
            assert all(isinstance(answer, questions.Resolved) for answer in answers)
            assert Slow.most <= 3


async def test_an_answer_without_end_is_cut_off(tmp_path: Path, monkeypatch):
    from strata_operator.imagebuild.triggers import smarthttp

    repository = Repository.make(tmp_path)
    commit = repository.commit({"a": "1"})
    repository.push(*(f"HEAD:refs/heads/main-{n}" for n in range(50)))
    monkeypatch.setattr(smarthttp, "_LARGEST", 2000)
    with HttpServer(tmp_path) as server:
        async with operator() as here:  # git, whose output is bounded as well, gives the verdict
            assert await here.resolve(f"{server.url}/app.git") == questions.Resolved(commit, "refs/heads/main")
