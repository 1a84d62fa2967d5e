"""What a request says that is wanted before there is a plan."""

from __future__ import annotations

from pathlib import Path

from strata_builder import contract, errors
from strata_builder.oci.platform import Platform


def platform_of(request: contract.BuildRequest) -> Platform:
    """The one platform of a pod that runs steps. Raises InvalidSpec."""
    if len(request.platforms) != 1:
        raise errors.InvalidSpec("a pod that runs steps builds one platform")
    return Platform.parse(request.platforms[0])


def secrets(folder: Path, ids: tuple[str, ...]) -> dict[str, bytes]:
    """The contents of secrets that lie in `folder` under their ids. Raises InvalidSpec for one that is not there."""
    found: dict[str, bytes] = {}
    for name in ids:
        path = folder / name
        if "/" in name or not path.is_file():
            raise errors.InvalidSpec(
                f"the secret {name!r} is not there", hint="check spec.secrets and the Secret's keys"
            )
        found[name] = path.read_bytes()
    return found
