"""What the operator and a builder pod say to each other: the only thing that the two halves share by agreement. Pure.

The operator writes a `BuildRequest` to `REQUEST` (a ConfigMap). The pod answers with a `BuildResult` or a `Failure` in
the termination message of its `push` container (see `termination`) and with an exit code of `ExitCode`.
"""

from __future__ import annotations

import enum
import json
import typing
from typing import Any, Final

from strata_builder import typed
from strata_builder.frozen import fields, frozen, is_frozen

VERSION: Final = 1
#: Base images of one build that a status holds.
MOST_BASE_IMAGES: Final = 32

#: Every way in which a build can stand, as written to conditions. Grouped by what happens next.
NO_RETRY: Final = frozenset(
    {
        "InvalidSpec",
        "DockerfileInvalid",
        "RunFailed",
        "OutOfMemory",
        "StorageLimitExceeded",
        "DeadlineExceeded",
        "DestinationConflict",
    }
)
HEALS_OUTSIDE: Final = frozenset(
    {
        "SourceNotFound",
        "SourceAuthFailed",
        "ReferenceNotFound",
        "BaseImageNotFound",
        "AccessNotGranted",
        "PushDenied",
        "PodRejected",
        "QuotaExceeded",
    }
)
WAITING: Final = frozenset(
    {
        "RegistryNotFound",
        "RegistryNotReady",
        "Queued",
        "Paused",
        "WaitingForBaseImage",
        "Unschedulable",
        "BuilderImagePullFailed",
    }
)
RETRIED: Final = frozenset({"RegistryUnavailable", "SourceUnavailable", "InfrastructureFailed"})
ENDED: Final = frozenset({"Cancelled", "Superseded", "Suspended"})
REASONS: Final = NO_RETRY | HEALS_OUTSIDE | WAITING | RETRIED | ENDED | {"Succeeded", "Unchanged", "Building"}


class ExitCode(enum.IntEnum):
    """Exit codes of the containers of a builder pod (and of `strata build`)."""

    OK = 0
    FAILED = 1  # the termination message says more
    USAGE = 2  # the command line is wrong
    NEEDS_SANDBOX = 10  # a RUN in a pod that runs none: the operator starts the right pod in the same attempt
    RUN_FAILED = 11
    PEER_LOST = 12  # another container of the pod ended or fell silent: its own answer says why
    DEADLINE = 13
    NO_USER_NAMESPACE = 14  # of fetch: the node ignored `hostUsers: false`; the operator goes on on another rung
    RETRYABLE = 20  # infrastructure: the operator starts the next attempt
    INTERRUPTED = 130


# Mount paths inside a builder pod. All of Strata lives below one folder, so that a stage may own the rest of the root.
HOME: Final = "/.strata"
REQUEST: Final = "/.strata/request/request.json"
CONTEXT_FILES: Final = "/.strata/files"  # inline files or a ConfigMap, as the kubelet mounts them (fetch)
DOCKERFILE: Final = "/.strata/dockerfile/Dockerfile"  # an inline Dockerfile (fetch)
SOURCE_CREDENTIALS: Final = "/.strata/credentials/source"  # keys as in Flux (fetch)
PULL_CREDENTIALS: Final = "/.strata/credentials/pull"  # one folder a Secret, each with .dockerconfigjson (fetch)
OWN_LOGIN: Final = "_own"  # that of them which the operator has written; no Secret can have this name
PUSH_CREDENTIALS: Final = "/.strata/credentials/push"  # .dockerconfigjson (push)
SECRET_SOURCES: Final = "/.strata/secret-sources"  # noqa: S105  a file each, named by the secret's id (fetch)
CA_BUNDLE: Final = "/.strata/ca/ca.crt"  # trusted beside the system's
INPUTS: Final = "/.strata/inputs"
OUTPUTS: Final = "/.strata/outputs"
WANTED: Final = "/.strata/wanted"
SECRETS: Final = "/.strata/secrets"  # memory; a RUN's secret files while they may be needed
ALIVE: Final = "/.strata/alive"
SCRATCH: Final = "/.strata/scratch"  # writable by its own container alone
TERMINATION_LOG: Final = "/.strata/termination/message"

INSTALL: Final = "install"  # of an init container: copies HOME to INSTALLED, where images cannot be mounted
INSTALLED: Final = "/installed"
FETCH, BUILD, PUSH = "fetch", "build", "push"  # names of the containers
ALL_IN_ONE: Final = "push"  # the one container of a Layers pod is named as its last role
ISOLATIONS: Final = ("Layers", "InPlace", "UserNS")
CACHE_TAG_PREFIX: Final = "cache-"  # tags that users may not choose
LOG_TAG_PREFIX: Final = (
    "cache-log-"  # followed by what tells one ImageBuild from another: a repository may have several
)


@frozen
class BuildId:
    """Which build of which resource a pod works for."""

    namespace: str
    name: str
    uid: str
    number: int
    attempt: int
    generation: int
    inputs: str


@frozen
class GitSource:
    """`commit` is what the operator resolved `revision` to, empty if it could not look. Without `submodules` their
    folders stay empty."""

    url: str
    revision: str = ""
    commit: str = ""
    path: str = ""
    submodules: bool = True


@frozen
class ArchiveSource:
    url: str
    sha256: str = ""
    path: str = ""


@frozen
class Source:
    """At most one is set; none means an empty context. `files` = the folder mounted at CONTEXT_FILES."""

    git: GitSource | None = None
    archive: ArchiveSource | None = None
    files: tuple[tuple[str, str], ...] = ()  # (path in the context, key of the mounted ConfigMap)
    files_folder: bool = False  # every key of the mounted ConfigMap is a file of that name


@frozen
class Mirror:
    """`endpoint` is a base URL (http:// or https://) asked before `upstream`."""

    upstream: str
    endpoint: str


@frozen
class Output:
    """`registry` is host[:port] as the pod dials it; `insecure` means plain HTTP."""

    registry: str
    repository: str
    insecure: bool = False
    compression: str = "Gzip"


@frozen
class Cache:
    mode: str = "Registry"  # or None
    max_age_seconds: int = 1_209_600
    max_size_bytes: int = 10 * 1024**3
    sources: tuple[str, ...] = ()
    no_cache: bool = False  # ignore cached RUN steps this once


@frozen
class KeptLog:
    """Where push keeps the log of this attempt: under `tag` in the output's repository, nowhere if that is empty. The logs
    of the builds in `keep` stay beside it, all others go."""

    tag: str = ""
    keep: tuple[int, ...] = ()


@frozen
class BuildRequest:
    """All that a builder pod must know, without a secret in it."""

    build: BuildId
    output: Output
    isolation: str = "Layers"
    platforms: tuple[str, ...] = ("linux/amd64",)
    source: Source = Source()
    dockerfile_path: str = ""  # in the context; empty = Dockerfile
    dockerfile_inline: bool = False  # mounted at DOCKERFILE
    target: str = ""
    args: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()  # ids, files below SECRET_SOURCES
    labels: tuple[tuple[str, str], ...] = ()
    source_date_epoch: int | None = None
    network: str = "Cluster"  # or None
    mirrors: tuple[Mirror, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    cache: Cache = Cache()
    log: KeptLog = KeptLog()
    timeout_seconds: int = 3600
    context_limit_bytes: int = 2 * 1024**3
    v: int = VERSION


@frozen
class PlatformResult:
    platform: str
    digest: str
    size: int
    media_type: str = "application/vnd.oci.image.manifest.v1+json"


@frozen
class SourceResult:
    revision: str = ""
    commit: str = ""
    message: str = ""
    author: str = ""
    time: int = 0


@frozen
class BaseImage:
    """`digest` is that of the platform's manifest, not of an index."""

    name: str
    digest: str


@frozen
class Step:
    line: int
    instruction: str
    cached: bool
    reason: str = ""
    seconds: float = 0.0
    size: int = 0


@frozen
class Metrics:
    fetch_seconds: float = 0.0
    build_seconds: float = 0.0
    push_seconds: float = 0.0
    pulled_bytes: int = 0
    pushed_bytes: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    layers: int = 0
    peak_memory_bytes: int = 0


@frozen
class BuildResult:
    """What push says when all is in the registry by digest. `started` is the Unix time at which its program began."""

    platforms: tuple[PlatformResult, ...]
    source: SourceResult = SourceResult()
    base_images: tuple[BaseImage, ...] = ()
    metrics: Metrics = Metrics()
    steps: tuple[Step, ...] = ()
    started: float = 0.0
    v: int = VERSION


@frozen
class Failure:
    """Why a container failed: `reason` of REASONS, `message` for people, the place in the Dockerfile if there is one, the
    last lines of its `log`, and the base images that it had met; the digest of one that was not found is empty."""

    reason: str
    message: str
    retryable: bool = False
    file: str = ""
    line: int = 0
    end_line: int = 0
    hint: str = ""
    log: str = ""
    base_images: tuple[BaseImage, ...] = ()
    v: int = VERSION


class ContractError(ValueError):
    """A message that is not what this contract says; the text names the field."""


def encode(value: BuildRequest | BuildResult | Failure) -> str:
    """`value` as compact JSON, keys sorted; fields that hold their default are left out: equal values give equal text."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if is_frozen(value):
        given = {name: (getattr(value, name), field.default) for name, field in fields(value).items()}
        return {name: _plain(one) for name, (one, default) in given.items() if name == "v" or one != default}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def decode_request(text: str) -> BuildRequest:
    """The request in `text`. Raises ContractError."""
    return typing.cast(BuildRequest, _decoded(BuildRequest, _load(text), "request"))


def decode_result(text: str) -> BuildResult | Failure:
    """What a container said; the text is hostile until it has passed here. Raises ContractError."""
    data = _load(text)
    kind: type[Any] = Failure if isinstance(data, dict) and "reason" in data else BuildResult
    return typing.cast("BuildResult | Failure", _decoded(kind, data, "message"))


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ContractError(f"not JSON: {str(e)[:200]}") from e


def _decoded(kind: type[Any], data: Any, what: str) -> Any:
    if isinstance(data, dict) and data.get("v") != VERSION:
        said = data.get("v") if isinstance(data.get("v"), int | str) else "something else"
        raise ContractError(f"{what}.v: this side speaks version {VERSION}, the other said {said!r:.20}")
    try:
        return typed.decode(kind, data, what, whole=False)
    except typed.Mismatch as e:
        raise ContractError(str(e)) from e
