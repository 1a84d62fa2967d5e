"""Flags of `docker build` and `docker buildx build` that mean nothing here, or that Strata cannot do: each is refused
with what to do instead, and none is ignored. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from strata_builder.cli import values

_NO_LIMITS: Final = (
    "steps have the limits of this process: set them around it (ulimit, systemd-run, docker run's flags)"
)
_NO_DAEMON: Final = "there is no daemon and no builder to choose: remove it"
_OUTSIDE: Final = "do what needs it outside of the build, or in a RUN that needs no such right"

#: Each with what to do instead.
FLAGS: Final = {
    "--add-host": "let the step write what it needs into its own command, for example `curl --resolve`",
    "--allow": _OUTSIDE,
    "--annotation": "annotations of manifests are not written yet: use --label",
    "--attest": "attestations are not made: remove it, or write --provenance=false --sbom=false",
    "--builder": _NO_DAEMON,
    "--cgroup-parent": _NO_LIMITS,
    "--cpu-period": _NO_LIMITS,
    "--cpu-quota": _NO_LIMITS,
    "--cpu-shares": _NO_LIMITS,
    "--cpuset-cpus": _NO_LIMITS,
    "--cpuset-mems": _NO_LIMITS,
    "--memory": _NO_LIMITS,
    "--memory-swap": _NO_LIMITS,
    "--no-cache-filter": "use --no-cache, or --build-arg with an ARG before the step that is to run again",
    "--policy": "policies are not evaluated: remove it",
    "--security-opt": _OUTSIDE,
    "--shm-size": "steps have no /dev/shm of their own: RUN --mount=type=tmpfs,target=/dev/shm,size=... makes one",
    "--ulimit": _NO_LIMITS,
    "--compress": "there is no daemon that the context would be sent to: remove it",
    "--force-rm": "no containers are left that could be removed: remove it",
    "--load": "there is no daemon to load into: `-o type=docker,dest=- . | docker load`",
    "--rm": "no containers are left that could be removed: remove it",
    "--squash": "layers are kept: copy what is wanted into a last stage (FROM scratch, COPY --from)",
}
#: Attestations: "false" is what happens anyway, everything else is refused.
ATTESTATIONS: Final = ("--provenance", "--sbom")


def without(argv: Sequence[str]) -> list[str]:
    """`argv` without what asks for no attestation. Raises UsageError for the first flag that is refused."""
    left: list[str] = []
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in FLAGS:
            raise values.UsageError(f"{flag} is not supported", hint=FLAGS[flag])
        if flag not in ATTESTATIONS:
            left.append(word)
        elif (value if equals else next(words, "")).lower() not in ("false", "0"):
            raise values.UsageError(
                f"{flag} is not supported: attestations are not made", hint=f"remove it, or write {flag}=false"
            )
    return left
