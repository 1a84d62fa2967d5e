"""STOPSIGNAL: the signals that engines know, by number or name with or without SIG."""

from __future__ import annotations

import re

from strata_builder.dockerfile.faults import Fault, did_you_mean

_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")  # any but 0, as elsewhere
_NAMES = tuple(
    """
    SIGABRT SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGIOT SIGKILL SIGPIPE SIGPOLL
    SIGPROF SIGPWR SIGQUIT SIGSEGV SIGSTKFLT SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1
    SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ SIGRTMIN SIGRTMAX
    """.split()  # noqa: SIM905
)
_REAL_TIME = frozenset([*(f"SIGRTMIN+{n}" for n in range(1, 16)), *(f"SIGRTMAX-{n}" for n in range(1, 15))])


def check(signal: str) -> str:
    """The signal as written if an engine will accept it; raises Fault otherwise."""
    if _NUMBER.fullmatch(signal) and int(signal):
        return signal
    name = "SIG" + signal.upper().removeprefix("SIG")
    if name not in _NAMES and name not in _REAL_TIME:
        usage = "write a number from 1 or a name such as SIGTERM"
        hint = did_you_mean(name, _NAMES, otherwise=usage) if signal.isalpha() else usage
        raise Fault(f"there is no signal {signal!r}", about=signal, hint=hint)
    return signal
