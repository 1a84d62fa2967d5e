"""Signatures over a request's id, time and body. Pure. (Standard Webhooks 1.0, symmetric: HMAC-SHA256.)"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

_PREFIX: Final = "whsec_"


def key_of(text: str) -> bytes:
    """The key that `text` stands for: base64 after whsec_, else its own bytes. Raises ValueError for bad base64."""
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ is not base64") from None


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of webhook-signature; `timestamp` is Unix seconds."""
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"
