"""Passwords and the htpasswd file of the CNCF distribution server, which reads bcrypt lines only.

The cost is low on purpose: every request is hashed anew, and a generated 256-bit password gains nothing from more.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import Final

import bcrypt

COST: Final = 5
_LONGEST: Final = 72  # bytes that bcrypt takes


def password() -> str:
    """256 random bits in 43 letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(32)


def usable(secret: str) -> bool:
    """Whether a password that was found, and that people may have put there, can be one."""
    return 0 < len(secret.encode()) <= _LONGEST


def render(users: Mapping[str, str], previous: str = "") -> str:
    """The file for `users` (name -> password). Lines of `previous` that still fit are kept, so that equal input gives
    an equal file although bcrypt salts."""
    kept = dict(line.split(":", 1) for line in previous.splitlines() if ":" in line)
    lines = [f"{user}:{_line(secret, kept.get(user, ''))}" for user, secret in sorted(users.items())]
    return "\n".join(lines) + "\n"


def _line(secret: str, previous: str) -> str:
    if previous.startswith(f"$2b${COST:02d}$") and _fits(secret, previous):
        return previous
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(COST)).decode()


def _fits(secret: str, hashed: str) -> bool:
    try:
        return hmac.compare_digest(bcrypt.hashpw(secret.encode(), hashed.encode()), hashed.encode())
    except ValueError:  # a line that is no bcrypt hash at all
        return False
