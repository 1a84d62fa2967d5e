"""Lines of logs as they may be shown: nothing in them moves a cursor, changes a title or reverses text. Pure."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from strata_builder.frozen import frozen

LONGEST: Final = 16 << 10  # characters of a line
_SHORT: Final = 200
#: Control sequences of ECMA-48: CSI; OSC, DCS, SOS, PM and APC with their text; those of two or three bytes.
_SEQUENCE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
#: Other control characters, those that turn the direction of what follows (Unicode UAX 9) or end a line unseen, and halves
#: of pairs, which nothing can store.
_CONTROL: Final = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (.*)", re.DOTALL)


@frozen
class Line:
    """`time` is RFC 3339, empty if it is not known; `container` fetch, build or push."""

    time: str
    container: str
    text: str

    def __str__(self) -> str:
        return f"{self.time or '-'} {self.container} {self.text}"


def plain(line: str) -> str:
    """`line` without its end and without control sequences. Of what was overwritten by carriage returns, as progress bars
    are, the beginning and the last state stay."""
    first, *later = (_CONTROL.sub("", _SEQUENCE.sub("", part)) for part in line.rstrip("\r\n").split("\r"))
    last = next((part for part in reversed(later) if part), "")
    whole = f"{first} … {last}" if first and last else first or last
    return _clamped(whole, LONGEST)


def of_container(container: str, lines: Iterable[str]) -> Iterator[Line]:
    """Lines of the form `TIME TEXT`, as `segments` writes and the kubelet gives them; one without a time has that of the
    line before it, and none is older than the line before it."""
    time = ""
    for line in lines:
        found = _TIME.fullmatch(line)
        if found:
            time = max(time, found[1], key=moment)
        yield Line(time, container, plain(found[2] if found else line))


def merged(sources: Mapping[str, Iterable[str]]) -> Iterator[Line]:
    """The lines of all containers, each of which is in order, in the order of time."""
    return heapq.merge(
        *(of_container(name, lines) for name, lines in sources.items()), key=lambda line: moment(line.time)
    )


def moment(time: str) -> str:
    """Sorts as the time does, however many digits its fraction has; times of one node have one zone."""
    return time[:-1] if time.endswith("Z") else time[:-6]


def last(lines: Sequence[str], *, count: int = 10, size: int = 1024) -> str:
    """The end of a log where there is little room: at most `count` lines and `size` bytes, none of them empty."""
    found = [_clamped(shown, _SHORT) for line in lines[-4 * count :] if (shown := plain(line).rstrip())][-count:]
    while found and len("\n".join(found).encode()) > size:
        del found[0]
    return "\n".join(found)


def parsed(line: str) -> Line:
    """A line that `Line.__str__` wrote, or that somebody else did: then without a time."""
    time, _, rest = line.partition(" ")
    container, _, text = rest.partition(" ")
    if not (time == "-" or _TIME.fullmatch(f"{time} ")) or not re.fullmatch(r"[a-z]{1,16}", container):
        return Line("", "", plain(line))
    return Line("" if time == "-" else time, container, plain(text))


def _clamped(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
