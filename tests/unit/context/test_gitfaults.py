"""What git says, and whose fault it is."""

from __future__ import annotations

import pytest

from strata_builder import errors
from strata_builder.context import gitfaults, gitremote
from strata_builder.context.credentials import Credentials

SAID = [
    ("fatal: could not read Username for 'https://github.com': terminal prompts disabled", errors.SourceAuthFailed),
    ("fatal: Authentication failed for 'https://host/a.git/'", errors.SourceAuthFailed),
    ("fatal: unable to access 'https://host/a/': The requested URL returned error: 403", errors.SourceAuthFailed),
    ("git@github.com: Permission denied (publickey).\nfatal: Could not read from remote", errors.SourceAuthFailed),
    ("Host key verification failed.\nfatal: Could not read from remote repository.", errors.SourceAuthFailed),
    ('Load key "/x/identity": error in libcrypto\ngit@h: x', errors.SourceAuthFailed),
    ("fatal: unable to access 'https://h/a/': SSL certificate problem: self-signed", errors.SourceAuthFailed),
    ("fatal: unable to access 'https://h/a/': server certificate verification failed. CA", errors.SourceAuthFailed),
    ("remote: Repository not found.\nfatal: repository 'https://h/a/' not found", errors.SourceNotFound),
    ("fatal: '/srv/x' does not appear to be a git repository", errors.SourceNotFound),
    ("remote: ERROR: The project you were looking for could not be found or you don't", errors.SourceNotFound),
    ("Forgejo: Cannot find repository: a/b\nfatal: Could not read from remote", errors.SourceNotFound),
    ("FATAL: R any a ada DENIED by fallthru\nfatal: Could not read from remote", errors.SourceAuthFailed),
    ("fatal: unable to access 'https://h/a/': Problem with the SSL CA cert (path? access", errors.SourceAuthFailed),
    ("fatal: unable to access 'https://h/a/': error setting certificate verify locations", errors.SourceAuthFailed),
    ("fatal: unable to access 'https://h/a/': error adding trust anchors from file: /x", errors.SourceAuthFailed),
    ("fatal: couldn't find remote ref nope", errors.ReferenceNotFound),
    ("fatal: remote error: upload-pack: not our ref 0000", errors.ReferenceNotFound),
    ("fatal: unable to access 'https://h/a/': Could not resolve host: h", errors.SourceUnavailable),
    ("fatal: unable to access 'https://h/a/': The requested URL returned error: 503", errors.SourceUnavailable),
    ("fatal: unable to access 'https://h/a/': Failed to connect: Connection refused", errors.SourceUnavailable),
    ("fatal: the remote end hung up unexpectedly\nfatal: early EOF", errors.SourceUnavailable),
    ("ssh: connect to host h port 22: Connection timed out", errors.SourceUnavailable),
    ("", errors.SourceUnavailable),
    ("fatal: transport 'ext' not allowed", errors.InvalidSpec),
    ("fatal: write error: No space left on device", errors.StorageLimitExceeded),
]  # fmt: skip


@pytest.mark.parametrize(("said", "kind"), SAID)
def test_words_of_git(said: str, kind: type[errors.BuildError]) -> None:
    error = gitfaults.explain(said, "https://h/a")
    assert type(error) is kind
    assert "https://h/a" in str(error)


@pytest.mark.parametrize("status", range(400, 600))
def test_what_a_server_answers_to_the_asker_alone_is_no_outage_of_it(status: int) -> None:
    error = gitfaults.explain(f"fatal: unable to access 'x': The requested URL returned error: {status}", "https://h/a")
    assert error.retryable is (status in (407, 408, 421, 423, 425, 429) or status >= 500)


def test_secrets_are_redacted_in_every_form() -> None:
    credentials = Credentials("ada", "p@ss/word")
    said = f"fatal: p@ss/word p%40ss/word p%40ss%2Fword {credentials.authorization()}"
    error = gitfaults.explain(said, "https://h/a", credentials.redact)
    assert error.message.endswith("fatal: *** *** *** Basic ***")


def test_a_banner_and_odd_characters_do_not_reach_the_message() -> None:
    error = gitfaults.explain("Welcome!\x1b[31m\n" * 50 + "fatal: repository 'x' not found\x07", "https://h/a")
    assert error.message == "there is no repository at https://h/a: fatal: repository 'x' not found?"


A, B = "a" * 40, "b" * 40
ANSWERS = [
    (f"{A}\trefs/heads/v1\n{B}\trefs/tags/v1\n", "v1", ("refs/heads/v1", A)),
    (f"{A}\trefs/tags/v1\n{B}\trefs/tags/v1^{{}}\n", "v1", ("refs/tags/v1", B, A)),
    (f"{A}\tHEAD\n{B}\trefs/remotes/origin/HEAD\n", "", ("HEAD", A)),
    (f"{A}\trefs/heads/x/main\n{B}\trefs/heads/main\n", "main", ("refs/heads/main", B)),
    (f"{A}\trefs/pull/1/head\n", "refs/pull/1/head", ("refs/pull/1/head", A)),
    (f"{A}\trefs/pull/1/head\n", "pull/1/head", ("refs/pull/1/head", A)),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "revision", "found"), ANSWERS)
def test_the_order_in_which_names_are_tried(answer: str, revision: str, found: tuple[str, ...]) -> None:
    assert gitremote.choose(answer.encode(), revision, "u") == gitremote.Resolved(*found)


@pytest.mark.parametrize(
    "separator", [chr(n) for n in range(0x3000) if len(f"a{chr(n)}b".splitlines()) > 1 and n != 10]
)
def test_a_name_ends_at_the_end_of_its_line_alone(separator: str) -> None:
    answer = f"{A}\trefs/heads/main\n{B}\trefs/heads/main{separator}x\n{B}\trefs/heads/none{separator}x\n"
    assert gitremote.choose(answer.encode(), "main", "u") == gitremote.Resolved("refs/heads/main", A)
    with pytest.raises(errors.ReferenceNotFound):
        gitremote.choose(answer.encode(), "none", "u")


@pytest.mark.parametrize("answer", ["", f"{A}\trefs/heads/x/main\n", "garbage\n", "x\trefs/heads/main\n", "\xff\n"])
def test_a_revision_that_is_not_in_the_answer(answer: str) -> None:
    with pytest.raises(errors.ReferenceNotFound, match="no branch or tag 'main'"):
        gitremote.choose(answer.encode("latin-1"), "main", "u")
