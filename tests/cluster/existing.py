"""Another cluster than our own: STRATA_CLUSTER=existing.

Tests create and delete things, so its context must be allowed by name.
"""

import fnmatch
import os
from pathlib import Path

import yaml

from cluster import errors

ALLOWED = ("kind-*", "strata-*")


def wanted() -> bool:
    """Whether STRATA_CLUSTER asks for an existing cluster.

    Raises:
        errors.ClusterError: STRATA_CLUSTER is neither empty, `own` nor `existing`.
    """
    choice = os.environ.get("STRATA_CLUSTER", "")
    if choice not in ("", "own", "existing"):
        raise errors.ClusterError(
            f"STRATA_CLUSTER={choice!r}: say `existing` to use the cluster of $KUBECONFIG, or unset it for our own"
        )
    return choice == "existing"


def context() -> tuple[str, Path]:
    """The current context and the path of $KUBECONFIG, after the check against the allow-list.

    Raises:
        errors.ClusterError: no kubeconfig, no current context, or a context that is not allowed.
    """
    named = os.environ.get("KUBECONFIG", "")
    if not named:
        raise errors.ClusterError("STRATA_CLUSTER=existing needs KUBECONFIG: `export KUBECONFIG=/path/to/kubeconfig`")
    if os.pathsep in named:
        raise errors.ClusterError(
            f"KUBECONFIG={named} lists several files: name one, so that it is plain which cluster is meant"
        )
    path = Path(named).absolute()
    name = current_context(path)
    if not allowed(name, os.environ.get("STRATA_ALLOW_CONTEXT", "")):
        raise errors.ClusterError(
            f"the context {name!r} of {path} is not one that tests may change: allowed are {', '.join(ALLOWED)}.\n"
            f"If it is a cluster for tests, say so: `export STRATA_ALLOW_CONTEXT={name}`"
        )
    return name, path


def current_context(path: Path) -> str:
    """The current-context of a kubeconfig file.

    Raises:
        errors.ClusterError: the file cannot be read, or names no context.
    """
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise errors.ClusterError(f"cannot read KUBECONFIG {path}: {error}") from error
    name = config.get("current-context") if isinstance(config, dict) else None
    if not isinstance(name, str) or not name:
        raise errors.ClusterError(f"{path} has no current-context: `kubectl config use-context NAME`")
    return name


def allowed(name: str, named_by_user: str = "") -> bool:
    """Whether tests may change the cluster of that context; a name given by the user must match it exactly."""
    return name == named_by_user or any(fnmatch.fnmatchcase(name, pattern) for pattern in ALLOWED)
