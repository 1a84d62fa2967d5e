"""What `decide` may ask of the world, and the answers. Pure.

`decide` is a generator: it yields questions and is sent the answers, so that the whole decision is free of I/O and a
test gives the answers from a table. A question that costs a request says how old its answer may be.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from strata_builder import contract
from strata_operator.imagebuild import lines

T = TypeVar("T")
Steps = Generator["Question", Any, T]


@dataclass(frozen=True, slots=True)
class ConfigMaps:
    """The named ConfigMaps of the namespace -> Mapping[str, body | None]."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit of a revision -> Resolved | Unseen | Later | contract.Failure."""

    url: str
    revision: str
    secret: str
    max_age: float  # seconds


@dataclass(frozen=True, slots=True)
class Polled:
    """What polling knows of a revision, without asking -> Resolved | Unseen | contract.Failure | None: nothing yet."""

    url: str
    revision: str
    secret: str


@dataclass(frozen=True, slots=True)
class Later:
    """The host is not asked now, for it has failed: in so many seconds."""

    seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """`ref` is the full name of the branch or tag (refs/heads/main), empty for a commit given as such.

    `checked` is the Unix time at which the source was asked, None if it was not.
    """

    commit: str
    ref: str = ""
    checked: float | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """The operator may not look; the pod can. `message` says why, and what would change it."""

    message: str


@dataclass(frozen=True, slots=True)
class BaseImages:
    """What base images stand for now -> bases.Seen, at once and of what is known; who asks is looked at again on news.

    `recorded` are their names, each with the digests of the last success.
    """

    recorded: tuple[tuple[str, frozenset[str]], ...]
    secrets: tuple[str, ...]  # of spec.pullSecrets
    interval: float  # seconds


@dataclass(frozen=True, slots=True)
class Ahead:
    """An ImageBuild that makes one of these base images, or one below them, and whose build is to come before
    -> names.Key | None. One that has just been counts where `waited`, until more urgent ones that have, too, were woken."""

    base_images: tuple[str, ...]
    waited: bool = False


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whether deliveries can be checked by this Secret -> Deaf | None."""

    secret: str

    def of(self, namespace: str) -> tuple[Webhook, str]:
        """The key by which the answer is remembered."""
        return self, namespace


@dataclass(frozen=True, slots=True)
class Deaf:
    """Deliveries are refused, and why: `reason` is CamelCase, `message` is for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Secrets:
    """Whether the user's Secrets are there, with these keys: (name, keys) each -> contract.Failure | None.

    None also where the operator may not look.
    """

    wanted: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place among the builds that may run at once -> queueing.Standing; None = it is taken."""

    rank: lines.Rank


@dataclass(frozen=True, slots=True)
class Rivals:
    """Other ImageBuilds that write to this repository of the same Registry -> Sequence[tags.Rival]."""

    repository: str


@dataclass(frozen=True, slots=True)
class Runs:
    """Whether the inline Dockerfile runs anything -> True | False | contract.Failure."""

    target: str


@dataclass(frozen=True, slots=True)
class UserNamespaces:
    """Whether the nodes can give a pod a user namespace of its own -> bool."""


@dataclass(frozen=True, slots=True)
class ImageVolumes:
    """Whether a pod may mount the builder's image as a volume -> bool."""


@dataclass(frozen=True, slots=True)
class Remember:
    """Not a question: what was learnt of the cluster, the answer to others for hours to come -> None."""

    asked: UserNamespaces | ImageVolumes
    answer: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether such a Job and its pod could be made now -> contract.Failure | NameTaken | NoImageVolumes | None."""

    job: Job


@dataclass(frozen=True, slots=True)
class NameTaken:
    """A Job of this name is there and was not made for this ImageBuild."""

    message: str


@dataclass(frozen=True, slots=True)
class NoImageVolumes:
    """The API server does not know images as volumes."""


@dataclass(frozen=True, slots=True)
class Events:
    """Events of an object -> Sequence[body] of events.k8s.io/v1."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Workloads:
    """Events of the Workloads of Kueue in the namespace -> Sequence[body] of events.k8s.io/v1."""

    max_age: float  # seconds


@dataclass(frozen=True, slots=True)
class Published:
    """Whether the repository holds a manifest -> bool | contract.Failure."""

    repository: str
    digest: str
    max_age: float = 0.0


@dataclass(frozen=True, slots=True)
class Tag:
    """Make `tags` name the manifest -> contract.Failure | None."""

    repository: str
    digest: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LostResult:
    """What a pod that vanished may have left in the registry -> contract.BuildResult | contract.Failure | None."""

    repository: str
    number: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Job:
    """All that a Job is made from, beside the object itself."""

    name: str
    number: int
    attempt: int
    generation: int
    inputs: str
    isolation: str
    repository: str
    commit: str = ""
    ref: str = ""
    no_cache: bool = False
    args: tuple[tuple[str, str], ...] = ()
    copied: bool = False  # the builder gets into the pod as a copy, for its image cannot be mounted


Question = (
    ConfigMaps
    | Commit
    | Polled
    | BaseImages
    | Ahead
    | Webhook
    | Secrets
    | Slot
    | Rivals
    | Runs
    | UserNamespaces
    | ImageVolumes
    | Remember
    | Admission
    | Events
    | Workloads
    | Published
    | Tag
    | LostResult
)
Answers = Mapping[Question, Any]
Failure = contract.Failure
