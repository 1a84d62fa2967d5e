"""The certificate authority of a managed Registry and the certificate that it serves with."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS: Final = 3650
SERVING_DAYS: Final = 365
_CA_RENEWAL: Final = datetime.timedelta(days=365 + 30)  # a CA outlives each certificate that it signs
_SERVING_RENEWAL: Final = datetime.timedelta(days=120)
_CLOCK_SKEW: Final = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: str
    key: str = field(repr=False)


def ca_is_good(pair: Pair, now: float) -> bool:
    """Whether `pair` can go on signing: it parses, belongs together, is valid and is not to be renewed yet."""
    return _belongs(pair) and _lasts(pair.certificate, now, _CA_RENEWAL)


def serving_is_good(pair: Pair, ca: Pair, hosts: Sequence[str], now: float) -> bool:
    """Whether `pair` is signed by `ca`, names exactly `hosts`, is valid and is not to be renewed yet."""
    if not _belongs(pair) or not _lasts(pair.certificate, now, _SERVING_RENEWAL):
        return False
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.certificate.encode()))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound, InvalidSignature):
        return False
    return list(names) == _names(hosts)


def make_ca(name: str, now: float) -> Pair:
    """A new authority; `name` is shown to people."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"Strata registry {name}"[:64])
    builder = _builder(subject, subject, key.public_key(), now, CA_DAYS)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def make_serving(ca: Pair, hosts: Sequence[str], now: float) -> Pair:
    """A new certificate for `hosts` (names and addresses), signed by `ca`."""
    issuer = x509.load_pem_x509_certificate(ca.certificate.encode())
    signer = _load_key(ca.key)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject("strata-registry"), issuer.subject, key.public_key(), now, SERVING_DAYS)
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _pair(certificate, key)


def still_valid(bundle: str, now: float) -> list[str]:
    """The certificates of a PEM bundle that have not expired, one PEM each; unreadable ones are left out."""
    try:
        found = x509.load_pem_x509_certificates(bundle.encode()) if bundle else []
    except ValueError:
        return []
    return [_pem(certificate) for certificate in found if certificate.not_valid_after_utc > _utc(now)]


def _belongs(pair: Pair) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        return certificate.public_key() == _load_key(pair.key).public_key()
    except (ValueError, TypeError):
        return False


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, days: int
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=_utc(now) - _CLOCK_SKEW,
        not_valid_after=_utc(now) + datetime.timedelta(days=days),
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_name(host) for host in hosts]


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(_pem(certificate), pem.decode())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return key


def _lasts(pem: str, now: float, renewal: datetime.timedelta) -> bool:
    """Whether it is valid, and for longer than `renewal`. One that was made by a clock that was ahead is not valid yet."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return certificate.not_valid_before_utc <= _utc(now) < certificate.not_valid_after_utc - renewal


def _utc(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
