"""What `# check=` and the build argument BUILDKIT_DOCKERFILE_CHECK say."""

from __future__ import annotations

from strata_builder.dockerfile.faults import Fault
from strata_builder.frozen import frozen

ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
_HINT = "write check=skip=RULE,RULE;error=true, or check=skip=all"
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


@frozen
class Settings:
    """Rules to skip and experimental ones to apply, "all" for every one; whether a warning is an error."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def applies(self, rule: str, *, experimental: bool) -> bool:
        if experimental:
            return bool(self.experimental & {rule, "all"})
        return not self.skip & {rule, "all"}

    def merged(self, other: Settings) -> Settings:
        """With those of a comment above an instruction, which cannot make errors of warnings."""
        return Settings(self.skip | other.skip, self.experimental | other.experimental, self.error)


def parse(value: str) -> Settings:
    """Raises Fault for what is no such list."""
    given: dict[str, str] = {}
    for part in value.strip().split(";", 2) if value.strip() else []:
        name, equals, text = part.partition("=")
        if not equals or name.strip() not in ("skip", "experimental", "error"):
            raise Fault(f"check has no option {part.strip()!r}", about=part.strip() or value, hint=_HINT)
        given[name.strip()] = text.strip()
    return Settings(_rules(given, "skip"), _rules(given, "experimental"), _boolean(given.get("error")))


def _rules(given: dict[str, str], name: str) -> frozenset[str]:
    return frozenset(rule.strip() for rule in given[name].split(",")) if name in given else frozenset()


def _boolean(value: str | None) -> bool:
    if value is not None and value not in _TRUE + _FALSE:
        raise Fault(f"check error= is true or false, not {value!r}", about=value or "error=", hint=_HINT)
    return value in _TRUE


def of_comments(comments: tuple[str, ...]) -> Settings:
    """Those of the first comment above an instruction that is a check directive; one that cannot be read says nothing."""
    for comment in comments:
        name, equals, value = comment.partition("=")
        if equals and name.strip().lower() == "check" and value.strip():
            try:
                return parse(value.strip().split(" ")[0])
            except Fault:
                return Settings()
    return Settings()
