"""Which certificate authorities a source's server may be signed by."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_SYSTEM: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def system_bundle() -> bytes:
    """The machine's own authorities in PEM; empty if it has none."""
    import ssl

    named = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    for name in filter(None, (named, *_SYSTEM)):
        if (path := Path(name)).is_file():
            return path.read_bytes()
    return b""


def bundle(extra: Iterable[bytes]) -> bytes:
    """`extra` (PEM) beside the machine's own; empty if there is nothing extra, so that a program's default holds."""
    added = [pem for pem in extra if pem.strip()]
    return b"\n".join([system_bundle(), *added, b""]) if added else b""
