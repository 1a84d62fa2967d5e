"""Image tags: placeholders filled in, and who may write which. Pure; the operator is the one writer of tags."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from strata_builder import contract, errors

_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z]+)\}")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]+")
SHORT_COMMIT: Final = 12


@dataclass(frozen=True, slots=True)
class Facts:
    """What placeholders stand for. `ref` is refs/heads/… or refs/tags/…, empty if not known; `now` Unix seconds."""

    number: int
    now: float
    commit: str = ""
    ref: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Rival:
    """Another ImageBuild of the same repository, with its tags as written in its spec and as it wrote them."""

    name: str
    older: bool
    tags: tuple[str, ...]


def expand(templates: Sequence[str], facts: Facts) -> tuple[str, ...]:
    """The tags of a build, each once, in order. Raises errors.InvalidSpec naming the template."""
    return tuple(dict.fromkeys(_expand(template, facts) for template in templates))


def literal(templates: Iterable[str]) -> tuple[str, ...]:
    """The templates that are tags as they stand."""
    return tuple(template for template in templates if "{" not in template)


def conflict(tags: Iterable[str], rivals: Iterable[Rival]) -> contract.Failure | None:
    """Two resources may not write one tag: the older one does, the other one fails."""
    wanted = set(tags)
    for rival in rivals:
        if rival.older and (taken := sorted(wanted & set(rival.tags))):
            return contract.Failure(
                "DestinationConflict",
                f"ImageBuild {rival.name} is older and writes the tag {taken[0]} of the same repository",
                hint="choose another tag or repository, or delete the other ImageBuild",
            )
    return None


def _expand(template: str, facts: Facts) -> str:
    tag = _PLACEHOLDER.sub(lambda found: _value(found[1], template, facts), template)
    if not _TAG.fullmatch(tag):
        raise _invalid(
            template, f"becomes {tag[:140]!r}, which is no tag", "a tag has 1 to 128 characters of A-Z a-z 0-9 _ . -"
        )
    if tag.startswith(contract.CACHE_TAG_PREFIX):
        raise _invalid(
            template, f"becomes {tag!r}; tags that start with cache- are Strata's own", "choose another name"
        )
    return tag


def _value(name: str, template: str, facts: Facts) -> str:
    value = {
        "commit": facts.commit,
        "shortCommit": facts.commit[:SHORT_COMMIT],
        "branch": _name(facts, "refs/heads/"),
        "gitTag": _name(facts, "refs/tags/"),
        "date": datetime.datetime.fromtimestamp(facts.now, datetime.UTC).strftime("%Y%m%d"),
        "build": str(facts.number),
    }.get(name)
    if value is None:
        raise _invalid(
            template, f"{{{name}}} is no placeholder", "known are commit, shortCommit, branch, gitTag, date, build"
        )
    if not value:
        raise _invalid(
            template, f"{{{name}}} has no value in this build", "it needs a git source whose revision is one"
        )
    return _UNFIT.sub("-", value)


def _name(facts: Facts, prefix: str) -> str:
    """The branch or tag that was built; where only the pod could see the repository, the revision as written."""
    if facts.ref:
        return facts.ref.removeprefix(prefix) if facts.ref.startswith(prefix) else ""
    return facts.revision.removeprefix(prefix) if facts.revision != facts.commit else ""


def _invalid(template: str, what: str, hint: str) -> errors.InvalidSpec:
    return errors.InvalidSpec(f"spec.output.tags: {template!r} {what}", hint=hint)
