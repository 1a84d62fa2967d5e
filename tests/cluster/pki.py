"""Keys and certificates of a cluster: an authority that signs one certificate a program."""

import base64
import datetime
import ipaddress
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster import subnet

LIFETIME = datetime.timedelta(days=3650)
BACKDATED = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a certificate is for: Kubernetes reads the user from the common name and its groups from the organization."""

    file: str
    user: str
    group: str = ""
    hosts: tuple[str, ...] = ()


def subjects(node_ip: str) -> list[Subject]:
    """Everyone who gets a certificate."""
    inside = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{subnet.DOMAIN}")
    return [
        Subject("apiserver", "kube-apiserver", hosts=("localhost", *inside, "127.0.0.1", node_ip, subnet.APISERVER)),
        Subject("admin", "admin", group="system:masters"),
        Subject("kubelet", "system:node:node", group="system:nodes", hosts=(node_ip,)),
        Subject("controller-manager", "system:kube-controller-manager"),
        Subject("scheduler", "system:kube-scheduler"),
        Subject("proxy", "system:kube-proxy"),
        Subject("coredns", "coredns"),
    ]


def make(folder: Path, node_ip: str, context: str, admin: Path) -> None:
    """Fills a folder with ca.crt, ca.key, NAME.crt, NAME.key and NAME.kubeconfig of each subject, sa.key and sa.pub.

    The administrator's kubeconfig is written to `admin` instead, with `context` as the name of its context.
    """
    folder.mkdir(mode=0o700)
    authority, ca_key = new_authority()
    write(folder / "ca.crt", certificate_pem(authority))
    write(folder / "ca.key", key_pem(ca_key))
    for subject in subjects(node_ip):
        key = ec.generate_private_key(ec.SECP256R1())
        write(folder / f"{subject.file}.crt", certificate_pem(sign(subject, key, authority, ca_key)))
        write(folder / f"{subject.file}.key", key_pem(key))
        target = admin if subject.file == "admin" else folder / f"{subject.file}.kubeconfig"
        write(target, kubeconfig(folder, subject, f"https://{node_ip}:6443", context))
    accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write(folder / "sa.key", key_pem(accounts))
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write(folder / "sa.pub", public)


def new_authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A self-signed certificate authority and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = common_name("strata-test-ca")
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    builder = (
        started(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def sign(
    subject: Subject, key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """The certificate of a subject, for clients and servers alike."""
    builder = (
        started(common_name(subject.user, subject.group), authority.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if subject.hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([alternative(host) for host in subject.hosts]), critical=False
        )
    return builder.sign(ca_key, hashes.SHA256())


def started(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """A certificate with names, key and lifetime; it starts an hour ago, for hosts whose clocks are corrected."""
    now = datetime.datetime.now(datetime.UTC)
    names = x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=key.public_key())
    return (
        names.serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
    )


def common_name(user: str, group: str = "") -> x509.Name:
    """The X.509 name of a Kubernetes user in at most one group."""
    organization = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*organization, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def alternative(host: str) -> x509.GeneralName:
    """An alternative name of the right kind for a host name or an address."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def kubeconfig(folder: Path, subject: Subject, server: str, context: str) -> bytes:
    """A kubeconfig, as JSON, which is YAML too. The certificates are inside, so that the file can be copied."""

    def data(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    user = {"client-certificate-data": data(f"{subject.file}.crt"), "client-key-data": data(f"{subject.file}.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
        "users": [{"name": subject.user, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": subject.user}}],
        "current-context": context,
    }
    return json.dumps(content, indent=1).encode()


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """PEM of a certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """PEM of a private key, PKCS#8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write(path: Path, content: bytes) -> None:
    """Writes a new file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
