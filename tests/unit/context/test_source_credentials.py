"""The keys of a source's Secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.context.credentials import Credentials


def test_a_mounted_secret_is_read(tmp_path: Path) -> None:
    (tmp_path / "..2024").mkdir()
    (tmp_path / "username").write_text("ada\n")
    (tmp_path / "password").write_text(" p w ")
    (tmp_path / "identity").write_bytes(b"-----BEGIN\r\nx\r\n")
    assert Credentials.load(tmp_path) == Credentials("ada", " p w ", identity=b"-----BEGIN\nx\n")
    assert Credentials.load(tmp_path / "nowhere") is None


def test_an_empty_mount_point_is_no_secret_and_a_mounted_secret_without_keys_is_an_error(tmp_path: Path) -> None:
    assert Credentials.load(tmp_path) is None
    (tmp_path / "..data").mkdir()
    with pytest.raises(errors.SourceAuthFailed, match=r"its keys are \(none\)"):
        Credentials.load(tmp_path)


def test_a_secret_without_a_known_key_names_what_it_has() -> None:
    with pytest.raises(errors.SourceAuthFailed, match=r"its keys are pass, user; known are username, password"):
        Credentials.of({"user": b"", "pass": b""})


@pytest.mark.parametrize("value", [b"a\nb", b"\xff", b"a\x00b"])
def test_a_password_is_one_line_of_text(value: bytes) -> None:
    with pytest.raises(errors.SourceAuthFailed, match="the key password"):
        Credentials.of({"password": value})


@pytest.mark.parametrize("token", ["\ufefftok-s3cret", "tok-s3cret\u2019", "t\xf6k-s3cret"])
def test_a_token_that_no_request_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(errors.SourceAuthFailed, match="bearer token") as caught:
        Credentials.of({"bearerToken": token.encode()})
    assert "s3cret" not in f"{caught.value}{caught.value.hint}"


def test_nothing_secret_is_in_its_representation() -> None:
    text = repr(Credentials("ada", "s3cret", "s3cret", b"s3cret", b"s3cret", b"s3cret"))
    assert "s3cret" not in text
