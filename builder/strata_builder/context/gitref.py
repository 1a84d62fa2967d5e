"""What the URL of a repository, the name of a revision and a folder in it mean. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from strata_builder import errors
from strata_builder.contract import GitSource
from strata_builder.frozen import field, frozen

_SCHEMES: Final = ("https", "http", "ssh", "file")
_SCP: Final = re.compile(r"(?P<user>[A-Za-z0-9._-]+)@(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*):(?P<path>(?!//)[^\s]+)")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT_COMMIT: Final = re.compile(r"[0-9a-f]{7,39}")
#: gitremote-helpers(7): `name::address` starts a program.
_HELPER: Final = re.compile(r"[A-Za-z0-9+.-]*::")
#: Also with a password that is not quoted as it should be, and so would end the host: what is no port is one.
_LOGIN: Final = re.compile(r"(?<=://)(?:[^/?#\s]*|[^/?#\s:\[]*:(?!\d*(?:[/?#]|$))\S*)@")
_LONGEST: Final = 4096
_YES: Final = ("", "1", "t", "T", "TRUE", "true", "True")
_NO: Final = ("0", "f", "F", "FALSE", "false", "False")
_OPTIONS: Final = (
    "its options are ref, branch, tag, subdir, checksum, keep-git-dir, submodules, fetch-by-commit and mtime, "
    "or #REVISION:FOLDER"
)
#: git-check-ref-format(1), and a leading dash, which a program could take for an option.
_BAD_REVISION: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|^[-/.]|[/.]$|\.lock(?:/|$)|^@$")


@frozen
class GitUrl:
    """`address` is what the git program is given: without a password, and over HTTP without a user.

    `origin` is scheme://host[:port], what credentials are bound to. `password` may have stood in the URL.
    """

    scheme: str
    address: str
    origin: str
    host: str
    port: int | None = None
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.address


def parse_url(text: str, *, local: bool = False) -> GitUrl:
    """The repository at `text`: https, http, ssh or `user@host:path`; file:// only if `local`. Raises InvalidSpec."""
    if (
        not text
        or text.startswith("-")
        or any(char == " " or not char.isprintable() for char in text)
        or _HELPER.match(text)
    ):
        raise errors.InvalidSpec(
            f"{shown(text)!r} is not the URL of a git repository",
            hint="for example https://host/team/app.git or git@host:team/app.git",
        )
    if match := _SCP.fullmatch(text):
        return GitUrl("ssh", text, f"ssh://{match['host']}", match["host"], user=match["user"])
    return _parse_absolute(text, local)


def _parse_absolute(text: str, local: bool) -> GitUrl:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as e:
        # What it says may quote a password.
        raise errors.InvalidSpec(f"{shown(text)!r} is not a URL: its host or port cannot be read") from e
    scheme = parts.scheme.lower()
    if scheme == "git":
        raise errors.InvalidSpec(f"{shown(text)!r}: the git protocol is not encrypted", hint="use https or ssh")
    if scheme not in _SCHEMES or (scheme == "file" and not local):
        raise errors.InvalidSpec(
            f"{shown(text)!r} is not a git URL that a build can use", hint="use https://, ssh:// or user@host:path"
        )
    if scheme == "file":
        return GitUrl("file", text, "file://", "")
    host = parts.hostname or ""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", host) or parts.path in ("", "/"):
        raise errors.InvalidSpec(f"{shown(text)!r} names no host and repository")
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    shown_user = f"{quote(user, safe='')}@" if user and scheme == "ssh" else ""
    if user.startswith("-"):
        raise errors.InvalidSpec(f"{shown(text)!r}: a user name cannot begin with a dash")
    query = f"?{parts.query}" if parts.query else ""
    address = f"{scheme}://{shown_user}{netloc}{parts.path}{query}"
    return GitUrl(scheme, address, f"{scheme}://{netloc}", host, port, user, password)


def shown(url: str) -> str:
    """`url` for people, at most 500 characters on one line: without what logs in, which over http may be the user alone."""
    whole = url if len(url) <= _LONGEST else f"{url[:_LONGEST]}@"  # what is cut off may have ended what logs in
    text = _LOGIN.sub(_hidden, whole)[:500]
    return "".join(char if char.isprintable() else "?" for char in text)


def _hidden(login: re.Match[str]) -> str:
    is_name = login.string[: login.start()].lower().endswith("ssh://") and not re.search("[:/?#]", login[0])
    return login[0] if is_name else "***@"


def is_commit(text: str) -> bool:
    """Whether `text` is a whole object name (SHA-1 or SHA-256) rather than the name of something."""
    return _COMMIT.fullmatch(text) is not None


def is_short_commit(text: str) -> bool:
    return _SHORT_COMMIT.fullmatch(text) is not None


def check_revision(text: str) -> str:
    """`text` itself. Raises InvalidSpec unless it can be a branch, a tag, a full reference or a commit."""
    if text and (_BAD_REVISION.search(text) or len(text) > 255):
        raise errors.InvalidSpec(
            f"{shown(text)!r} cannot be the name of a branch, a tag or a commit", hint="see git-check-ref-format(1)"
        )
    return text


def check_folder(text: str) -> str:
    """A folder of a repository or archive, cleaned; empty for its root. Raises InvalidSpec if it leaves the root."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or ".git" in parts or any(ord(char) < 32 for char in text):
        raise errors.InvalidSpec(
            f"the path {shown(text)!r} is not a folder inside the source", hint="write it relative to the source's root"
        )
    return "/".join(parts)


@frozen
class Reference:
    """What a Dockerfile or a command line asks of a repository. `checksum` is how the name of the commit must begin that
    `source.revision` leads to; `keep_git_dir` is None where nothing is said of it."""

    source: GitSource
    checksum: str = ""
    keep_git_dir: bool | None = None


def parse_context(text: str) -> Reference | None:
    """`URL[#REVISION[:FOLDER]]`, as BuildKit takes it; None if it is no git URL (a folder, an archive).

    An http(s) URL counts if its path ends in .git. A query may say the same and more: ref, branch, tag, subdir, checksum
    (or commit), keep-git-dir, submodules, fetch-by-commit, mtime. Raises InvalidSpec.
    """
    url, _, fragment = text.partition("#")
    if re.match(r"github\.com/[^/]+/[^/]+", url):
        url = f"https://{url}"
    elif not _is_git(url):
        return None
    revision, _, folder = fragment.partition(":")
    base, _, query = url.partition("?")
    said = _Query(base, query)
    revision = said.one("ref", said.named("branch", "heads"), said.named("tag", "tags"), said.value("ref"), revision)
    folder = said.one("subdir", check_folder(said.value("subdir")), check_folder(folder))
    checksum = said.one("commit", *(check_checksum(said.value(name)) for name in ("checksum", "commit")))
    by_commit = said.flag("fetch-by-commit")
    said.finish()
    check_revision(revision)
    if by_commit and not is_commit(checksum) and not is_commit(revision):
        raise errors.InvalidSpec(f"{shown(base)}: fetch-by-commit wants a checksum with all its characters")
    commit = checksum if by_commit and not is_commit(revision) else ""
    source = GitSource(base, revision, commit, folder, said.flag("submodules") is not False)
    return Reference(source, checksum, said.flag("keep-git-dir"))


def check_checksum(text: str) -> str:
    """`text` in lower case. Raises InvalidSpec unless it can begin the name of a commit."""
    if text and not re.fullmatch(r"[0-9a-fA-F]{1,64}", text):
        raise errors.InvalidSpec(
            f"the checksum {shown(text)!r} of a git repository is not the name of a commit",
            hint="write the hexadecimal digits that `git rev-parse` prints, all of them or the first ones",
        )
    return text.lower()


def _is_git(url: str) -> bool:
    if url.startswith(("ssh://", "git://")) or _SCP.fullmatch(url):
        return True
    path = url.partition("?")[0]
    return url.startswith(("https://", "http://", "file://")) and path.endswith(".git")


class _Query:
    """The query of a git URL, each option of which may be given once."""

    def __init__(self, url: str, query: str) -> None:
        pairs = parse_qsl(query, keep_blank_values=True)
        self._url, self._given, self._known = url, dict(pairs), set[str]()
        if len(self._given) < len(pairs):
            raise self._wrong("gives an option twice")

    def value(self, name: str) -> str:
        self._known.add(name)
        if self._given.get(name) == "":
            raise self._wrong(f"gives {name}= no value")
        return self._given.get(name, "")

    def named(self, name: str, kind: str) -> str:
        """A branch or tag as a full reference."""
        given, prefix = self.value(name), f"refs/{kind}/"
        return given if not given or given.startswith(prefix) else prefix + given

    def flag(self, name: str) -> bool | None:
        """None where it is not given; a name alone is a yes."""
        self._known.add(name)
        given = self._given.get(name)
        if given not in (None, *_YES, *_NO):
            raise self._wrong(f"says {name}={shown(given or '')}, which is neither true nor false")
        return None if given is None else given in _YES

    def one(self, what: str, *given: str) -> str:
        """The one value that is given, however often."""
        found = dict.fromkeys(filter(None, given))
        if len(found) > 1:
            raise self._wrong(f"gives more than one {what}: {shown(', '.join(found))}")
        return next(iter(found), "")

    def finish(self) -> None:
        """Raises InvalidSpec for an option that nobody asked for."""
        if self.value("mtime") not in ("", "checkout", "commit"):  # files of a repository have the time of their step
            raise self._wrong("says an mtime= that is neither checkout nor commit")
        if unknown := sorted(self._given.keys() - self._known - {"submodules", "keep-git-dir"}):
            raise self._wrong(f"gives an option that is not known: {shown(unknown[0])}=")

    def _wrong(self, what: str) -> errors.InvalidSpec:
        return errors.InvalidSpec(f"the git URL {shown(self._url)} {what}", hint=_OPTIONS)
