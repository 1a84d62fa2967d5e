"""The --flags of an instruction, checked against those that it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from strata_builder.dockerfile.faults import Fault, did_you_mean
from strata_builder.frozen import frozen


class Kind(Enum):
    """What a flag takes."""

    TEXT = auto()
    MANY = auto()
    BOOL = auto()


@frozen
class Flags:
    """The flags given, by name; one value each unless the flag may be repeated."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str:
        return self.values.get(name, ("",))[0]

    def many(self, name: str) -> tuple[str, ...]:
        return self.values.get(name, ())

    def boolean(self, name: str) -> bool | None:
        """None if the flag was not given."""
        return self.values[name][0] == "true" if name in self.values else None


def parse(keyword: str, words: Sequence[str], known: Mapping[str, Kind]) -> Flags:
    """Flags from words such as --chown=1:2; raises Fault for unknown, repeated or ill-formed ones."""
    values: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word[2:].partition("=")
        if name not in known:
            raise _unknown(keyword, name, known)
        if name in values and known[name] is not Kind.MANY:
            raise Fault(f"{keyword} --{name} is given twice", about=f"--{name}", hint="keep one of them")
        checked = _boolean(name, equals, value) if known[name] is Kind.BOOL else _text(name, equals, value)
        values.setdefault(name, []).append(checked)
    return Flags({name: tuple(given) for name, given in values.items()})


def _unknown(keyword: str, name: str, known: Mapping[str, Kind]) -> Fault:
    hint = did_you_mean(name, known, before="--") if known else f"{keyword} takes no flags"
    if keyword in ("RUN", "CMD", "ENTRYPOINT"):
        hint += f'; an argument that begins with -- needs the exec form: {keyword} ["--{name}"]'
    return Fault(f"{keyword} has no flag --{name}", about=f"--{name}", hint=hint)


def _text(name: str, equals: str, value: str) -> str:
    if not equals:
        raise Fault(
            f"--{name} needs a value", about=f"--{name}", hint=f"write --{name}=VALUE, with no space around the ="
        )
    return value


def _boolean(name: str, equals: str, value: str) -> str:
    if not equals:
        return "true"
    if value.lower() not in ("true", "false"):
        raise Fault(
            f"--{name} is true or false, not {value!r}", about=f"--{name}", hint=f"write --{name} or --{name}=false"
        )
    return value.lower()
