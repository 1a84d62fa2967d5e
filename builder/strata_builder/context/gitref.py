"""What the URL of a repository, the name of a revision and a folder in it mean. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from strata_builder import errors
from strata_builder.contract import GitSource

_SCHEMES: Final = ("https", "http", "ssh", "file")
_SCP: Final = re.compile(r"(?P<user>[A-Za-z0-9._-]+)@(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*):(?P<path>(?!//)[^\s]+)")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT_COMMIT: Final = re.compile(r"[0-9a-f]{7,39}")
#: gitremote-helpers(7): `name::address` starts a program.
_HELPER: Final = re.compile(r"[A-Za-z0-9+.-]*::")
#: git-check-ref-format(1), and a leading dash, which a program could take for an option.
_BAD_REVISION: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|^[-/.]|[/.]$|\.lock(?:/|$)|^@$")


@dataclass(frozen=True, slots=True)
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
        raise errors.InvalidSpec(f"{shown(text)!r} is not a URL: {e}") from e
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
    """`url` for people: without the password that may stand in it, on one line."""
    text = re.sub(r"://[^/@\s]*:[^/@\s]*@", "://***@", url[:500])
    return "".join(char if char.isprintable() else "?" for char in text)


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


def parse_context(text: str) -> GitSource | None:
    """A build context on a command line, `URL[#REVISION[:FOLDER]]`; None if it is no git URL (a folder, an archive).

    As `docker build` takes it: an http(s) URL counts if its path ends in .git; `?ref=`, `?branch=`, `?tag=`,
    `?commit=` and `?subdir=` may replace the fragment, and `?submodules=false` leaves submodules out. Raises InvalidSpec.
    """
    url, _, fragment = text.partition("#")
    if re.match(r"github\.com/[^/]+/[^/]+", url):
        url = f"https://{url}"
    elif not _is_git(url):
        return None
    revision, _, folder = fragment.partition(":")
    source = GitSource(url, revision, path=folder)
    base, _, query = url.partition("?")
    if query:
        source = _with_query(replace(source, url=base), dict(parse_qsl(query, keep_blank_values=True)))
    check_revision(source.revision)
    return replace(source, path=check_folder(source.path))


def _is_git(url: str) -> bool:
    if url.startswith(("ssh://", "git://")) or _SCP.fullmatch(url):
        return True
    path = url.partition("?")[0]
    return url.startswith(("https://", "http://", "file://")) and path.endswith(".git")


def _with_query(source: GitSource, query: dict[str, str]) -> GitSource:
    if unknown := sorted(query.keys() - {"ref", "branch", "tag", "commit", "subdir", "submodules"}):
        raise errors.NotSupported(f"{shown(source.url)}: the option ?{shown(unknown[0])}= of a git URL is not known")
    named = [f"refs/heads/{query['branch']}"] if query.get("branch") else []
    named += [f"refs/tags/{query['tag']}"] if query.get("tag") else []
    named += [query[name] for name in ("ref",) if query.get(name)] + [source.revision] * bool(source.revision)
    commit = query.get("commit", "")
    if len(named) > 1 or (commit and not is_commit(commit)):
        raise errors.InvalidSpec(
            f"{shown(source.url)}: give one of ref, branch and tag, and the commit with all its characters"
        )
    return replace(
        source,
        revision=(named or [""])[0],
        commit=commit,
        path=query.get("subdir") or source.path,
        submodules=_flag(source, "submodules", query.get("submodules") or "true"),
    )


def _flag(source: GitSource, name: str, value: str) -> bool:
    if value not in ("true", "false", "1", "0"):
        raise errors.InvalidSpec(f"{shown(source.url)}: ?{name}= is true or false, not {shown(value)!r}")
    return value in ("true", "1")
