"""Asking a repository where a revision stands, without fetching anything."""

from __future__ import annotations

from strata_builder import errors
from strata_builder.context import gitprogram, gitref
from strata_builder.context.credentials import ANONYMOUS, Credentials
from strata_builder.frozen import frozen


@frozen
class Resolved:
    """`name` is the full reference (refs/heads/main, refs/tags/v1, HEAD), empty if the revision was a commit itself.

    `tag` is the name of the tag object, where the reference is an annotated tag.
    """

    name: str
    commit: str
    tag: str = ""


def ls_remote(
    url: str,
    revision: str = "",
    credentials: Credentials | None = None,
    timeout: float = 30,
    settings: gitprogram.Settings = gitprogram.DEFAULTS,
) -> str:
    """The commit that `revision` (a branch, tag, full reference or commit; empty = the default branch) names now.

    `timeout` is in seconds. A whole commit passes through unasked. Raises InvalidSpec, SourceNotFound,
    SourceAuthFailed, ReferenceNotFound and SourceUnavailable, without a secret in the message.
    """
    return resolve(url, revision, credentials, timeout, settings).commit


def resolve(
    url: str,
    revision: str = "",
    credentials: Credentials | None = None,
    timeout: float = 30,
    settings: gitprogram.Settings = gitprogram.DEFAULTS,
    *,
    local: bool = False,
) -> Resolved:
    """As `ls_remote`, with the reference's full name. `local` allows file:// URLs."""
    parsed = gitref.parse_url(url, local=local)
    if gitref.is_commit(gitref.check_revision(revision)):
        return Resolved("", revision)
    with gitprogram.session(parsed, credentials or ANONYMOUS, settings, timeout=timeout) as session:
        return ask(session, revision)


def ask(session: gitprogram.Session, revision: str) -> Resolved:
    """`resolve` in a session that is open already."""
    names = candidates(revision)
    try:
        answer = session.run("ls-remote", "--quiet", "--", session.url.address, *names, *(f"{n}^{{}}" for n in names))
    except gitprogram.GitFailed as e:
        raise session.explain(e) from None
    return choose(answer, revision, str(session.url))


def candidates(revision: str) -> list[str]:
    """The full names that `revision` may have: of a branch and a tag the branch counts, as for git checkout and BuildKit."""
    if not revision or revision == "HEAD":
        return ["HEAD"]
    return [revision] if revision.startswith("refs/") else [f"refs/{k}{revision}" for k in ("", "heads/", "tags/")]


def choose(answer: bytes, revision: str, url: str) -> Resolved:
    """The commit in the lines of `git ls-remote`; an annotated tag counts as the commit that it is of. Pure."""
    found: dict[str, str] = {}
    for line in answer.decode("utf-8", "replace").split("\n"):  # a name may hold what else ends a line for Python
        commit, _, name = line.partition("\t")
        if gitref.is_commit(commit):
            found[name] = commit
    for name in candidates(revision):
        if name in found:
            commit = found.get(f"{name}^{{}}", found[name])
            return Resolved(name, commit, found[name] if commit != found[name] else "")
    hint = "a commit must have all its characters" if gitref.is_short_commit(revision) else "check its spelling"
    what = f"no branch or tag {revision!r}" if revision else "no default branch: it is empty"
    raise errors.ReferenceNotFound(f"{url} has {what}", hint=hint if revision else "push a commit first")
