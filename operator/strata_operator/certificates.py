"""Bundles of certificate authorities in PEM, as people write them: with comments, in any order, in any encoding."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cryptography import x509

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----")


def only(bundle: str | bytes) -> str:
    """The certificates of `bundle` alone, each once, in ASCII: TLS libraries choke on comments in other encodings.

    Raises ValueError if there is none, or one that cannot be read.
    """
    data = bundle.encode("utf-8", "surrogatepass") if isinstance(bundle, str) else bundle
    found = dict.fromkeys(match[0] for match in _CERTIFICATE.finditer(data.replace(b"\r", b"")))
    if not found:
        raise ValueError("no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    for number, pem in enumerate(found, start=1):
        try:
            x509.load_pem_x509_certificate(pem)
        except ValueError as e:
            raise ValueError(f"certificate {number} cannot be read: {e}") from e
    return "".join(f"{pem.decode('ascii')}\n" for pem in found)


def joined(*bundles: str) -> str:
    """Bundles as `only` gives them, some of them empty, as one."""
    return "".join(bundles)


def read(path: str) -> str:
    """The bundle in a file; empty for no path. Raises ValueError naming the file, OSError."""
    if not path:
        return ""
    try:
        return only(Path(path).read_bytes())
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e
