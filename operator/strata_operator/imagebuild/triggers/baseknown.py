"""What the poller of base images knows of a place, and who wants to know it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from strata_builder import errors
from strata_builder.registry import errors as registry_errors
from strata_operator import names
from strata_operator.imagebuild.triggers.baselook import Place
from strata_operator.imagebuild.triggers.bases import Found

#: Seconds between two looks at a place because of hints, of which there may be thousands.
BETWEEN: Final = 5.0
LONGEST: Final = 1800.0  # seconds between two looks at what cannot be seen, unless the interval is longer


@dataclass(frozen=True, slots=True)
class Interest:
    """`recorded` are the digests with which the image was built."""

    interval: float
    recorded: frozenset[str]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a place cannot be seen; `denied` where other credentials might help."""

    reason: str
    message: str
    denied: bool = False


@dataclass(slots=True)
class Known:
    """What is known of a place, in times of a clock that nobody sets: `checked` is that of the last answer, `due` that of
    the next look, `looked` that of the last one. `hinted` says that it is to be looked at however early that is, `owed`
    that a look for a hint has failed and another one may do better, `its_turn` that it has waited for its turn at the
    host. For those in `doubted` what was found may be older than their image, since when they say."""

    place: Place
    found: Found | None = None
    problem: Problem | None = None
    checked: float | None = None
    failures: int = 0
    due: float = 0.0
    looked: float = 0.0
    hinted: bool = False
    owed: bool = False
    its_turn: bool = False
    interests: dict[names.Key, Interest] = field(default_factory=dict)
    doubted: dict[names.Key, float] = field(default_factory=dict)

    @property
    def interval(self) -> float:
        """Seconds between two looks, more of them while it cannot be seen."""
        shortest = min((one.interval for one in self.interests.values()), default=LONGEST)
        return min(shortest * 2.0 ** min(self.failures, 16), max(shortest, LONGEST))

    def take(self, who: names.Key, interest: Interest, now: float) -> bool:
        """`who` has this interest now; True if a new look is needed to tell whether it has moved for `who`: whose image is
        new has met what stood there then, perhaps after the last look."""
        before = self.interests.get(who)
        self.interests[who] = interest
        if before is None or before.recorded != interest.recorded:
            self.doubted.pop(who, None)
            if self.found and any(map(self.found.moved, interest.recorded)):
                self.doubted[who] = now
                return True
        return False

    def trusted(self) -> set[names.Key]:
        """Those whose doubts the last look has settled, for it began after them; they have none any more."""
        found = {who for who, since in self.doubted.items() if since <= self.looked}
        self.doubted = {who: since for who, since in self.doubted.items() if who not in found}
        return found

    def found_for(self, who: names.Key) -> Found | None:
        """What was found, unless that may be older than the image of `who`."""
        return None if who in self.doubted else self.found

    def early(self, now: float) -> float:
        """Seconds before which it is not to be looked at."""
        due = self.due
        if self.hinted:
            due = min(due, self.looked + BETWEEN)
        elif self.owed:
            due = min(due, self.looked + BETWEEN * 2.0 ** min(self.failures, 16))
        return max(due - now, 0.0)


def problem(failure: errors.BuildError) -> Problem:
    """What a look that failed means for those who want to know."""
    text = f"{failure.message} ({failure.hint})" if failure.hint else failure.message
    if isinstance(failure, registry_errors.AddressRefused):
        return Problem("AddressNotAllowed", text)
    if isinstance(failure, registry_errors.Unauthorized | registry_errors.Denied):
        return Problem("AccessNotGranted", text, denied=True)
    if isinstance(failure, registry_errors.NotFound):
        return Problem("BaseImageNotFound", text, denied=True)  # some say so to strangers
    if isinstance(failure, registry_errors.RegistryError):
        return Problem("RegistryUnavailable", text)
    return Problem("BaseImageNotFound", text)
