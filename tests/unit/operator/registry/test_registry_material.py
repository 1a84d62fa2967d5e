# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""Passwords, htpasswd, certificates: made once, kept while they are good, renewed in time."""

import base64
import re
import ssl

import bcrypt
import pytest
from cryptography import x509

from strata_operator.registry import htpasswd, material, tls

DAY = 86400.0
NOW = 1_800_000_000.0
HOSTS = ["strata-main.team.svc.cluster.local", "localhost", "10.0.0.1"]


def ensure(private=None, served=None, *, now=NOW, hosts=HOSTS, name="main"):
    return material.ensure(name, private or {}, served or {}, hosts=hosts, now=now)


def test_what_is_complete_is_kept_to_the_last_byte():
    first = ensure()
    again = ensure(first.private("main"), first.served("main"), now=NOW + 30 * DAY)
    assert again == first


def test_passwords_have_256_bits_and_fit_bcrypt():
    one, two = htpasswd.password(), htpasswd.password()
    assert one != two
    assert len(base64.urlsafe_b64decode(one + "=")) == 32
    assert len(one.encode()) <= 72


def test_the_htpasswd_file_opens_for_the_passwords_and_no_others():
    made = ensure()
    lines = dict(line.split(":") for line in made.htpasswd.splitlines())
    assert lines.keys() == set(material.USERS)
    for user, hashed in lines.items():
        assert hashed.startswith("$2b$05$")
        assert bcrypt.checkpw(made.passwords[user].encode(), hashed.encode())
        assert not bcrypt.checkpw(b"other", hashed.encode())


@pytest.mark.parametrize("previous", ["", "garbage", "push:$2b$05$short", "push:$2b$12$" + "a" * 53, "x:y\n" * 3])
def test_htpasswd_lines_that_do_not_fit_are_made_anew_and_strangers_go(previous):
    made = htpasswd.render({"push": "secret"}, previous)
    assert re.fullmatch(r"push:\$2b\$05\$.{53}\n", made)
    assert htpasswd.render({"push": "secret"}, made) == made
    assert htpasswd.render({"push": "changed"}, made) != made


def test_a_password_that_was_deleted_is_made_anew_and_its_line_with_it():
    first = ensure()
    private = first.private("main")
    del private[f"main.{material.USER_PUSH}"]
    second = ensure(private, first.served("main"))
    assert second.passwords[material.USER_PUSH] != first.passwords[material.USER_PUSH]
    assert second.passwords[material.USER_PULL] == first.passwords[material.USER_PULL]
    assert second.htpasswd != first.htpasswd
    assert second.serving == first.serving


@pytest.mark.parametrize("theirs", ["x" * 73, "ü" * 40])
@pytest.mark.parametrize("user", material.USERS)
def test_a_password_that_somebody_has_put_there_and_bcrypt_cannot_take_is_made_anew(user, theirs):
    first = ensure()
    second = ensure(first.private("main") | {f"main.{user}": theirs}, first.served("main"))
    assert second.passwords[user] != theirs
    assert dict(line.split(":") for line in second.htpasswd.splitlines()).keys() == set(material.USERS)
    good = ensure(first.private("main") | {f"main.{user}": "x" * 72}, first.served("main"))
    assert good.passwords[user] == "x" * 72


def test_two_registries_share_secrets_and_no_keys():
    one, two = ensure(name="one"), ensure(name="two")
    assert not one.private("one").keys() & two.private("two").keys()
    both = one.private("one") | two.private("two"), one.served("one") | two.served("two")
    assert ensure(*both, name="one") == one


def test_clients_that_trust_the_authority_accept_the_certificate_for_its_names():
    made = ensure()
    certificate = x509.load_pem_x509_certificate(made.serving.certificate.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(made.ca.certificate.encode()))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == HOSTS[:2]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    ssl.create_default_context(cadata=made.bundle)


@pytest.mark.parametrize(
    ("days", "serving_kept", "ca_kept"),
    [(200, True, True), (250, False, True), (400, False, True), (3300, False, False)],
)
def test_certificates_are_renewed_well_before_they_expire(days, serving_kept, ca_kept):
    first = ensure()
    later = ensure(first.private("main"), first.served("main"), now=NOW + days * DAY)
    assert (later.serving == first.serving) is serving_kept
    assert (later.ca == first.ca) is ca_kept
    assert later.passwords == first.passwords


@pytest.mark.parametrize("ahead", [0.5, 400, 5000])
def test_what_was_made_by_a_clock_that_was_ahead_is_made_anew_for_nobody_trusts_it_yet(ahead):
    first = ensure(now=NOW + ahead * DAY)
    second = ensure(first.private("main"), first.served("main"))
    for pair in (second.ca, second.serving):
        assert x509.load_pem_x509_certificate(pair.certificate.encode()).not_valid_before_utc.timestamp() <= NOW
    assert tls.serving_is_good(second.serving, second.ca, HOSTS, NOW)
    assert second.passwords == first.passwords
    assert ensure(second.private("main"), second.served("main"), now=NOW + 60) == second


def test_after_a_new_authority_the_old_one_is_trusted_until_it_expires():
    first = ensure()
    second = ensure(first.private("main"), first.served("main"), now=NOW + 3300 * DAY)
    assert second.bundle == second.ca.certificate + first.ca.certificate
    third = ensure(second.private("main"), second.served("main"), now=NOW + 3700 * DAY)
    assert third.bundle == second.ca.certificate


def test_other_host_names_ask_for_another_certificate():
    first = ensure()
    second = ensure(first.private("main"), first.served("main"), hosts=["elsewhere"])
    assert second.serving != first.serving
    assert second.ca == first.ca


@pytest.mark.parametrize("key", [material.KEY_CA, material.KEY_CA_KEY])
@pytest.mark.parametrize("value", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_authority_is_replaced(key, value):
    first = ensure()
    second = ensure(first.private("main") | {f"main.{key}": value}, first.served("main"))
    assert second.ca != first.ca
    assert tls.serving_is_good(second.serving, second.ca, HOSTS, NOW)


def test_a_key_of_another_certificate_is_noticed():
    first, other = ensure(), ensure()
    mixed = first.served("main") | {f"main.{material.KEY_KEY}": other.serving.key}
    assert ensure(first.private("main"), mixed).serving != first.serving


def test_secrets_do_not_show_in_reprs():
    made = ensure()
    shown = repr(made)
    assert all(secret not in shown for secret in [*made.passwords.values(), made.http_secret, "PRIVATE KEY"])


def test_values_of_a_secret_that_are_no_text_are_left_out():
    data = {"good": base64.b64encode(b"x").decode(), "binary": base64.b64encode(b"\xff").decode(), "bad": "%%%"}
    assert material.decode({"data": data}) == {"good": "x"}
    assert material.decode(None) == {}
    assert material.decode({"data": material.encode({"a": "ü"})}) == {"a": "ü"}
