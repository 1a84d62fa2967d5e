"""Frozen classes as JSON between the containers of a pod, read strictly: no unknown field, no wrong type. Pure."""

from __future__ import annotations

import typing
from typing import Any, TypeVar

from strata_builder import typed
from strata_builder.frozen import asdict
from strata_builder.oci import errors as oci_errors
from strata_builder.oci import strictjson

T = TypeVar("T")


class WireError(ValueError):
    """What another container said is not what was agreed; the text names the field."""


def dump(value: Any) -> bytes:
    """Canonical JSON of a frozen class whose fields are text, numbers, booleans, None, tuples and such classes."""
    return strictjson.dumps(asdict(value))


def load(kind: type[T], data: bytes, *, limit: int, what: str) -> T:
    """A `kind` from its JSON, at most `limit` bytes. Raises WireError."""
    try:
        parsed = strictjson.loads(data, limit=limit, what=what)
        return typing.cast(T, typed.decode(kind, parsed, what, whole=True))
    except oci_errors.ImageInvalid as e:
        raise WireError(e.message) from None
    except typed.Mismatch as e:
        raise WireError(str(e)) from None
