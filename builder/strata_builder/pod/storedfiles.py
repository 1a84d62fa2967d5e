"""What was found at the URLs of ADD, as it lies beside their contents for the other containers of a pod and for the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.context import validators
from strata_builder.context.validators import Stored
from strata_builder.frozen import frozen
from strata_builder.pod import exchange, wire

CONTENT: Final = "content"
_ABOUT: Final = "about.json"
_LIMIT: Final = 4096


@frozen
class _About:
    url: str
    stored: Stored


def write(place: Path, url: str, stored: Stored) -> None:
    exchange.publish(place / _ABOUT, wire.dump(_About(validators.url_id(url), stored)))


def read(place: Path) -> Stored:
    return _read(place / _ABOUT).stored


def every(store: Path) -> dict[str, Stored]:
    """By the URLs' ids; of one that was fetched twice, once with a checksum, either."""
    found = (_read(path) for path in sorted(store.glob(f"[!.]*/{_ABOUT}")))
    return {about.url: about.stored for about in found}


def _read(path: Path) -> _About:
    try:
        return wire.load(_About, exchange.read(path, _LIMIT), limit=_LIMIT, what=path.name)
    except (wire.WireError, ValueError) as e:
        raise errors.InfrastructureFailed(f"what fetch left of an ADD cannot be used: {e}") from e
