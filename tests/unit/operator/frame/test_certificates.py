"""Bundles of authorities as people write them."""

import ssl

import pytest

from strata_operator import certificates
from support.certificates import Authority

FIRST, SECOND = Authority("first").pem, Authority("second").pem


@pytest.mark.parametrize(
    "bundle",
    [
        FIRST + SECOND,
        "# Zürich\n".encode() + FIRST + "# Größe\n".encode("latin-1") + SECOND,
        b"\xef\xbb\xbf" + FIRST.replace(b"\n", b"\r\n") + b"\r\n\r\n" + SECOND + FIRST,
        FIRST + b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n" + SECOND,
    ],
    ids=["plain", "comments", "windows", "a key among them"],
)
def test_only_the_certificates_are_left_each_once_and_tls_can_read_them(bundle):
    found = certificates.only(bundle)
    assert found == (FIRST + SECOND).decode("ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=found)
    assert len(context.get_ca_certs()) == 2


@pytest.mark.parametrize("bundle", ["", "garbage", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
def test_a_bundle_without_a_readable_certificate_is_refused(bundle):
    with pytest.raises(ValueError, match="certificate"):
        certificates.only(bundle)


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "ca.crt").write_text("garbage")
    with pytest.raises(ValueError, match=r"ca\.crt"):
        certificates.read(str(tmp_path / "ca.crt"))
    assert certificates.read("") == ""
